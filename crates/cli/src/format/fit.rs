//! A table that is wider than the terminal, made narrower: first columns that are read rather than copied are cut, the
//! widest of them first; then columns move together; then times are cut; then all of these to little more than their
//! headings. Ids, names, tags and sizes always stay whole.

use super::output::shortened;
use super::tabwriter::align_with;

/// Layouts to try: the least width of a column, and the blanks between two. The first is Docker's.
const LAYOUTS: [(usize, usize); 3] = [(10, 3), (0, 2), CLOSEST];
const CLOSEST: (usize, usize) = (0, 1);
/// Columns that may be cut, and what must stay of them.
const READ: [(&str, usize); 10] = [
    ("COMMAND", 9),
    ("PORTS", 12),
    ("CREATED BY", 12),
    ("DESCRIPTION", 12),
    ("COMMENT", 9),
    ("MOUNTS", 9),
    ("LABELS", 9),
    ("NETWORKS", 9),
    ("ERROR", 9),
    ("IMAGE", 12),
];
/// On a terminal narrower than this, a table that cannot fit is not laid out as one.
const BLOCKS_BELOW: usize = 40;
/// What is cut only when that was not enough.
const TIMES: [(&str, usize); 2] = [("CREATED", 9), ("STATUS", 10)];
/// All of them, where even that is too wide: that much still says which of several things it is.
const SCANT: [(&str, usize); 12] = [
    ("COMMAND", 7),
    ("PORTS", 7),
    ("CREATED BY", 7),
    ("DESCRIPTION", 7),
    ("COMMENT", 7),
    ("MOUNTS", 7),
    ("LABELS", 7),
    ("NETWORKS", 7),
    ("ERROR", 7),
    ("IMAGE", 7),
    ("CREATED", 7),
    ("STATUS", 7),
];
/// Of this the end says more than the beginning.
const ENDS: &str = "IMAGE";

/// Lays out lines of cells with tabs between them, the first of which are headings, in `columns`.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let mut lines: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect();
    let Some(headings) = lines.first().cloned() else {
        return String::new();
    };
    if lines.iter().any(|line| line.len() != headings.len()) {
        return align_with(text, LAYOUTS[0].0, LAYOUTS[0].1);
    }
    for layout in LAYOUTS {
        let mut tried = lines.clone();
        narrow(&mut tried, &headings, &READ, columns, layout);
        if width(&tried, layout) <= columns {
            return laid_out(&tried, layout);
        }
    }
    narrow(&mut lines, &headings, &READ, columns, CLOSEST);
    narrow(&mut lines, &headings, &TIMES, columns, CLOSEST);
    narrow(&mut lines, &headings, &SCANT, columns, CLOSEST);
    if lines.len() > 1 && columns < BLOCKS_BELOW && width(&lines, CLOSEST) > columns {
        return blocks(text);
    }
    laid_out(&lines, CLOSEST)
}

/// A line for each cell, its heading above it, and an empty line between the rows: what a terminal can show that is
/// narrower than any table.
fn blocks(text: &str) -> String {
    let mut lines = text.lines().map(|line| line.split('\t').map(str::trim));
    let headings: Vec<&str> = lines.next().into_iter().flatten().collect();
    let rows = lines.map(|cells| {
        let named = headings
            .iter()
            .zip(cells)
            .filter(|(_, cell)| !cell.is_empty());
        named
            .map(|(heading, cell)| format!("{heading}\n {cell}\n"))
            .collect::<String>()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn laid_out(lines: &[Vec<String>], (least, padding): (usize, usize)) -> String {
    let lines: Vec<String> = lines.iter().map(|line| line.join("\t") + "\n").collect();
    align_with(&lines.concat(), least, padding)
}

/// Cuts the widest of the columns that may be cut, cell by cell, until the table fits or no more may go.
fn narrow(
    lines: &mut [Vec<String>],
    headings: &[String],
    cut: &[(&str, usize)],
    columns: usize,
    layout: (usize, usize),
) {
    loop {
        let excess = width(lines, layout).saturating_sub(columns);
        let widest = headings
            .iter()
            .enumerate()
            .filter_map(|(at, heading)| {
                let (_, least) = cut.iter().find(|(name, _)| name == heading)?;
                let least = (*least).max(heading.chars().count());
                let widest = widest(lines, at);
                (widest > least).then_some((widest, at))
            })
            .max();
        let (Some((length, at)), 1..) = (widest, excess) else {
            return;
        };
        for line in lines.iter_mut() {
            line[at] = match headings[at] == ENDS {
                true => shortened_before(&line[at], length - 1),
                false => shortened(&line[at], length - 1),
            };
        }
    }
}

fn widest(lines: &[Vec<String>], at: usize) -> usize {
    let lengths = lines.iter().map(|line| line[at].chars().count());
    lengths.max().unwrap_or(0)
}

/// How wide the table is; nothing stands behind its last column.
fn width(lines: &[Vec<String>], (least, padding): (usize, usize)) -> usize {
    let count = lines.first().map_or(0, Vec::len);
    let column = |at: usize| match at + 1 == count {
        true => widest(lines, at),
        false => (widest(lines, at) + padding).max(least),
    };
    (0..count).map(column).sum()
}

/// The last `length` characters, the first of which says that there were more.
fn shortened_before(text: &str, length: usize) -> String {
    let count = text.chars().count();
    if count <= length {
        return text.to_owned();
    }
    let rest = text.chars().skip(count + 1 - length);
    ['…'].into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES\n\
        0123456789ab\tregistry.example.com/team/shop:1.2\t\"/docker-entrypoint.…\"\t2 hours ago\tUp 2 hours (healthy)\t0.0.0.0:80->80/tcp, [::]:80->80/tcp\tshop-front-1\n";

    fn widest_line(text: &str) -> usize {
        text.lines().map(|line| line.chars().count()).max().unwrap()
    }

    #[test]
    fn what_fits_is_as_ever() {
        let expected = align_with(TABLE, 10, 3);
        assert_eq!(fit(TABLE, 200), expected);
    }

    #[test]
    fn read_columns_give_way_and_ids_and_names_never() {
        for columns in [90, 100, 120, 140] {
            let text = fit(TABLE, columns);
            assert!(widest_line(&text) <= columns, "{columns}: {text}");
            assert!(
                text.contains("0123456789ab ") && text.contains(" shop-front-1\n"),
                "{text}"
            );
        }
        let text = fit(TABLE, 140);
        assert!(text.contains("…") && text.contains("shop:1.2 "), "{text}");
        assert!(
            text.contains("2 hours ago") && text.contains("(healthy)"),
            "{text}"
        );
    }

    #[test]
    fn eighty_columns_hold_a_container_with_a_name_of_docker_s() {
        let long = TABLE.replace("shop-front-1", "determined_chandrasekhar");
        for text in [TABLE, &long] {
            let text = fit(text, 80);
            assert!(widest_line(&text) <= 80, "{text}");
            assert!(text.contains("0123456789ab "), "{text}");
        }
        assert!(fit(&long, 80).contains(" determined_chandrasekhar\n"));
    }

    #[test]
    fn a_table_that_can_never_fit_is_as_narrow_as_it_gets() {
        let long = "NAME\tDRIVER\na-very-long-name-indeed-longer-than-all-that\tlocal\n";
        assert_eq!(
            fit(long, 40),
            "NAME                                         DRIVER\na-very-long-name-indeed-longer-than-all-that local\n"
        );
        let short = "NAME\tDRIVER\tX\nlong-name\tlocal\t\nb\tc\td\n";
        assert_eq!(
            fit(short, 10),
            "NAME\n long-name\nDRIVER\n local\n\nNAME\n b\nDRIVER\n c\nX\n d\n"
        );
        assert_eq!(fit("NAME\tDRIVER\n", 10), "NAME DRIVER\n");
    }
}
