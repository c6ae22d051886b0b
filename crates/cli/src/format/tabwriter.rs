//! Elastic columns, as Go's `text/tabwriter` lays them out for Docker: cells end at a tab, a
//! column is a run of neighbouring lines that have that cell, and its width is its widest cell
//! plus three blanks, ten at least. What follows the last tab of a line belongs to no column.

/// A column is at least this wide.
const WIDTH_MIN: usize = 10;
/// Blanks after the widest cell.
const PADDING: usize = 3;

/// Lays out `text` with Docker's column settings.
pub(crate) fn align(text: &str) -> String {
    align_with(text, WIDTH_MIN, PADDING)
}

/// Lays out `text` in columns at least `width_min` wide with `padding` blanks between them.
pub(crate) fn align_with(text: &str, width_min: usize, padding: usize) -> String {
    let lines = text
        .split('\n')
        .map(|line| line.split('\t').collect())
        .collect();
    let mut table = Table {
        lines,
        widths: Vec::new(),
        out: String::new(),
        width_min,
        padding,
    };
    let count = table.lines.len();
    table.block(0, count);
    table.out
}

struct Table<'t> {
    lines: Vec<Vec<&'t str>>,
    /// Widths of the columns the current block stands in.
    widths: Vec<usize>,
    out: String,
    width_min: usize,
    padding: usize,
}

impl Table<'_> {
    /// Writes the lines `first..last`, which all have the cells of the columns known so far.
    fn block(&mut self, mut first: usize, last: usize) {
        let column = self.widths.len();
        let mut line = first;
        while line < last {
            if !self.has_cell(line, column) {
                line += 1;
                continue;
            }
            self.write(first, line);
            first = line;
            let mut width = self.width_min;
            while line < last && self.has_cell(line, column) {
                width = width.max(self.lines[line][column].chars().count() + self.padding);
                line += 1;
            }
            self.widths.push(width);
            self.block(first, line);
            self.widths.pop();
            first = line;
        }
        self.write(first, last);
    }

    fn has_cell(&self, line: usize, column: usize) -> bool {
        column + 1 < self.lines[line].len()
    }

    fn write(&mut self, first: usize, last: usize) {
        for index in first..last {
            for (column, cell) in self.lines[index].iter().enumerate() {
                self.out.push_str(cell);
                if let Some(width) = self.widths.get(column) {
                    let blanks = width.saturating_sub(cell.chars().count());
                    self.out.push_str(&" ".repeat(blanks));
                }
            }
            if index + 1 < self.lines.len() {
                self.out.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ten_wide_or_as_wide_as_their_widest_cell_and_three() {
        assert_eq!(
            align("ID\tNAME\nabcdefghijkl\tx\n"),
            "ID             NAME\nabcdefghijkl   x\n"
        );
        assert_eq!(align("A\tB\n1\t2\n"), "A         B\n1         2\n");
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        assert_eq!(
            align("a\tb\nnone\nlonglonglong\tb\n"),
            "a         b\nnone\nlonglonglong   b\n"
        );
    }

    #[test]
    fn width_counts_characters() {
        assert_eq!(
            align("ééééééééééé\tb\nx\ty\n"),
            "ééééééééééé   b\nx             y\n"
        );
    }

    #[test]
    fn an_empty_cell_still_takes_its_column() {
        assert_eq!(
            align("A\t\tB\n1\t\t2"),
            "A                   B\n1                   2"
        );
    }
}
