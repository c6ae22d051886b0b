//! Tree + value → text.

use super::TemplateError;
use super::functions;
use super::lex::place;
use super::omitted::omitted;
use super::parse::{Branch, Command, Node, Operand, Pipeline, Term, Tree};
use super::print;
use super::value::{Kind, Value};

/// Templates that call one another deeper than this never end.
const DEPTH_MAX: usize = 1000;

pub(super) fn render(
    tree: &Tree,
    source: &str,
    data: &Value,
    is_heading: bool,
) -> Result<String, TemplateError> {
    let mut run = Run {
        tree,
        source,
        out: String::new(),
        variables: vec![(String::new(), data.clone())],
        depth: 0,
        is_heading,
    };
    run.list(&tree.root, data)?;
    Ok(run.out)
}

/// What Go's type of ports can tell of one: `$port.Port` of `80/tcp`.
fn part_of_port(text: &str, name: &str) -> Option<Value> {
    let (port, protocol) = functions::port_and_protocol(text)?;
    match name {
        "Port" => Some(Value::text(port)),
        "Proto" => Some(Value::text(protocol)),
        "Int" => port.parse().ok().map(Value::Int),
        _ => None,
    }
}

/// How a list of nodes ended.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'t> {
    tree: &'t Tree,
    source: &'t str,
    out: String,
    /// Innermost last; `$` is the empty name.
    variables: Vec<(String, Value)>,
    depth: usize,
    is_heading: bool,
}

type Eval<T> = Result<T, TemplateError>;

impl Run<'_> {
    fn fail<T>(&self, at: usize, node: &str, message: &str) -> Eval<T> {
        let (line, column) = place(self.source, at);
        Err(TemplateError::Failed(format!(
            ":{line}:{column}: executing \"\" at <{node}>: {message}"
        )))
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Eval<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Eval<Flow> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&print::top(&value));
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Call { name, argument, at } => self.call(name, argument.as_ref(), *at, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, moves_dot: bool) -> Eval<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let flow = if value.is_true() {
            self.list(&branch.body, if moves_dot { &value } else { dot })
        } else {
            self.list(&branch.otherwise, dot)
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Eval<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let entries = match entries(&value) {
            Some(entries) => entries,
            None => {
                let operand = &branch.pipeline.commands[0].operands[0];
                let shown = print::value(&value);
                return self.fail(
                    operand.at,
                    &operand.text,
                    &format!("range can't iterate over {shown}"),
                );
            }
        };
        self.variables.truncate(scope);
        if entries.is_empty() {
            return self.list(&branch.otherwise, dot);
        }
        for (key, element) in entries {
            match branch.pipeline.variables.as_slice() {
                [] => {}
                [one] => self.bind(&branch.pipeline, one, element.clone())?,
                [first, second, ..] => {
                    self.bind(&branch.pipeline, first, key)?;
                    self.bind(&branch.pipeline, second, element.clone())?;
                }
            }
            let flow = self.list(&branch.body, &element)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn call(
        &mut self,
        name: &str,
        argument: Option<&Pipeline>,
        at: usize,
        dot: &Value,
    ) -> Eval<()> {
        let Some(nodes) = self.tree.defined.get(name) else {
            let told = argument.map_or(String::new(), |pipeline| format!(" {}", pipeline.text()));
            return self.fail(
                at,
                &format!("{{{{template {name:?}{told}}}}}"),
                &format!("template {name:?} not defined"),
            );
        };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail(at, name, "exceeded maximum template depth");
        }
        let data = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Nil,
        };
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), data.clone())]);
        self.list(nodes, &data)?;
        self.variables = outer;
        self.depth -= 1;
        Ok(())
    }

    /// Declares a variable, or gives one that is there another value.
    fn bind(&mut self, pipeline: &Pipeline, name: &str, value: Value) -> Eval<()> {
        if !pipeline.assigns {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        let mut known = self.variables.iter_mut().rev();
        if let Some((_, slot)) = known.find(|(known, _)| known == name) {
            *slot = value;
            return Ok(());
        }
        let given = pipeline
            .commands
            .last()
            .and_then(|last| last.operands.first());
        let (at, text) = given.map_or((0, ""), |given| (given.at, given.text.as_str()));
        self.fail(at, text, &format!("undefined variable: ${name}"))
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Eval<Value> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value.take())?);
        }
        let value = value.unwrap_or_default();
        // A range binds its elements, not the whole.
        for name in &pipeline.variables {
            self.bind(pipeline, name, value.clone())?;
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Eval<Value> {
        let [first, arguments @ ..] = command.operands.as_slice() else {
            return Ok(Value::Missing);
        };
        if let (Term::Function(name), []) = (&first.term, first.fields.as_slice()) {
            return self.function(name, command, arguments, dot, piped);
        }
        if arguments.is_empty() && piped.is_none() {
            if matches!(first.term, Term::Nil) {
                return self.fail(first.at, &first.text, "nil is not a command");
            }
            return self.operand(first, dot);
        }
        if first.fields.is_empty() {
            let message = match &first.term {
                Term::Nil => "nil is not a command".to_owned(),
                _ => format!("can't give argument to non-function {}", first.text),
            };
            return self.fail(first.at, &first.text, &message);
        }
        let mut values = Vec::new();
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(piped);
        self.method(command, dot, &values)
    }

    /// A field with arguments: the one method rows have is `.Label "name"`.
    fn method(&mut self, command: &Command, dot: &Value, arguments: &[Value]) -> Eval<Value> {
        let Some(operand) = operand_of(command, 0) else {
            return Ok(Value::Missing);
        };
        let (name, path) = operand
            .fields
            .split_last()
            .map_or(("", &[][..]), |(n, p)| (n.as_str(), p));
        let start = self.term(operand, dot)?;
        let receiver = self.fields(start, path, operand)?;
        if let (Value::Object(object), "Label", [Value::Text(wanted)]) =
            (&receiver, name, arguments)
        {
            if self.is_heading {
                let last = wanted.rsplit('.').next().unwrap_or(wanted);
                return Ok(Value::text(last.replace(['-', '_'], " ")));
            }
            let found = object.labels.iter().find(|(label, _)| **label == **wanted);
            return Ok(Value::text(found.map_or("", |(_, value)| value.as_str())));
        }
        if is_labelled(&receiver) && name == "Label" {
            return match arguments {
                [other] => {
                    let given = operand_of(command, 1).unwrap_or(operand);
                    let message = format!("expected string; found {}", print::value(other));
                    self.fail(given.at, &given.text, &message)
                }
                _ => self.label_alone(operand, arguments.len()),
            };
        }
        if matches!(receiver, Value::Object(_)) {
            self.fields(receiver, std::slice::from_ref(&name.to_owned()), operand)?;
        }
        let message = format!("{name} is not a method but has arguments");
        self.fail(operand.at, &operand.text, &message)
    }

    fn label_alone<T>(&self, operand: &Operand, count: usize) -> Eval<T> {
        let message = format!("wrong number of args for Label: want 1 got {count}");
        self.fail(operand.at, &operand.text, &message)
    }

    fn function(
        &mut self,
        name: &str,
        command: &Command,
        arguments: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Eval<Value> {
        let mut values = Vec::new();
        let stops_at = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        for argument in arguments {
            let value = self.operand(argument, dot)?;
            if stops_at == Some(value.is_true()) {
                return Ok(value);
            }
            values.push(value);
        }
        values.extend(piped);
        if self.is_heading && functions::is_dockers(name) {
            return Ok(values.into_iter().next().unwrap_or_default());
        }
        // Go knows these keys by a type of their own, which a text in a template is not; one that comes from the map is.
        let is_text = |key: &Operand| !matches!(key.term, Term::Variable(_));
        let called = match arguments.get(1).is_some_and(is_text) && name == "index" {
            true if functions::is_by_port(&values[0]) => Err(functions::Failure::Call(
                "value has type string; should be nat.Port".to_owned(),
            )),
            _ => functions::call(name, &values),
        };
        called.or_else(|error| {
            let text: Vec<&str> = command.operands.iter().map(|o| o.text.as_str()).collect();
            let message = match error {
                functions::Failure::Arguments { want } => {
                    format!(
                        "wrong number of args for {name}: want {want} got {}",
                        values.len()
                    )
                }
                functions::Failure::Call(message) => format!("error calling {name}: {message}"),
            };
            self.fail(command.operands[0].at, &text.join(" "), &message)
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Eval<Value> {
        if let (Term::Function(name), []) = (&operand.term, operand.fields.as_slice()) {
            let command = Command {
                operands: vec![operand.clone()],
            };
            return self.function(name, &command, &[], dot, None);
        }
        let start = self.term(operand, dot)?;
        self.fields(start, &operand.fields, operand)
    }

    fn term(&mut self, operand: &Operand, dot: &Value) -> Eval<Value> {
        Ok(match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Nil,
            Term::Constant(value) => value.clone(),
            Term::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            Term::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => value.clone(),
                    None => {
                        return self.fail(
                            operand.at,
                            &operand.text,
                            &format!("undefined variable: ${name}"),
                        );
                    }
                }
            }
            Term::Function(name) => functions::call(name, &[]).unwrap_or_default(),
        })
    }

    fn fields(&self, start: Value, names: &[String], operand: &Operand) -> Eval<Value> {
        let mut value = start;
        for (place, name) in names.iter().enumerate() {
            value = match &value {
                Value::Object(object) => match (object.get(name), object.kind) {
                    (Some(found), _) => found.clone(),
                    (None, Kind::Map | Kind::NilMap) => Value::Missing,
                    (None, Kind::Struct)
                        if omitted(name).is_some_and(|empty| {
                            // What a pointer to nothing points to is looked for in vain.
                            empty != Value::Nil || place + 1 == names.len()
                        }) =>
                    {
                        omitted(name).unwrap_or_default()
                    }
                    (None, Kind::Struct | Kind::Raw) => {
                        let message = format!("map has no entry for key {name:?}");
                        return self.fail(operand.at, &operand.text, &message);
                    }
                    (None, Kind::Row(_)) if name == "Label" && is_labelled(&value) => {
                        return self.label_alone(operand, 0);
                    }
                    (None, Kind::Row(kind)) => {
                        let message = format!("can't evaluate field {name} in type {kind}");
                        return self.fail(operand.at, &operand.text, &message);
                    }
                },
                Value::Text(text) if part_of_port(text, name).is_some() => {
                    part_of_port(text, name).unwrap_or_default()
                }
                Value::Missing | Value::Nil => {
                    let message = format!("nil pointer evaluating interface {{}}.{name}");
                    return self.fail(operand.at, &operand.text, &message);
                }
                other => {
                    let message =
                        format!("can't evaluate field {name} in type {}", other.type_name());
                    return self.fail(operand.at, &operand.text, &message);
                }
            };
        }
        Ok(value)
    }
}

/// Rows that `.Label "name"` can be asked of, by Go's names.
const LABELLED: [&str; 4] = [
    "*formatter.ContainerContext",
    "*formatter.volumeContext",
    "*formatter.networkContext",
    "*network.networkContext",
];

fn is_labelled(value: &Value) -> bool {
    match value {
        Value::Object(object) => matches!(object.kind, Kind::Row(kind) if LABELLED.contains(&kind)),
        _ => false,
    }
}

fn operand_of(command: &Command, at: usize) -> Option<&Operand> {
    command.operands.get(at)
}

/// What `range` visits: index and element, or key and value in the order of keys.
fn entries(value: &Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Missing | Value::Nil | Value::List(None) => Some(Vec::new()),
        Value::List(Some(values)) => Some(
            (0_i64..)
                .map(Value::Int)
                .zip(values.iter().cloned())
                .collect(),
        ),
        Value::Int(count) => Some(
            (0..*count)
                .map(|i| (Value::Int(i), Value::Int(i)))
                .collect(),
        ),
        Value::Object(object) if matches!(object.kind, Kind::Row(_)) => None,
        Value::Object(object) => {
            let mut fields: Vec<_> = object.fields.iter().collect();
            fields.sort_by(|left, right| left.0.cmp(&right.0));
            Some(
                fields
                    .into_iter()
                    .map(|(k, v)| (Value::text(k.as_str()), v.clone()))
                    .collect(),
            )
        }
        _ => None,
    }
}
