//! Tree + value → text.

use std::rc::Rc;

use super::functions::{self, Parameter, Signature};
use super::lex::place;
use super::omitted::omitted;
use super::parse::{Branch, Command, Node, Operand, Pipeline, Term, Tree};
use super::print;
use super::value::{Kind, Value};
use super::{Template, TemplateError};

/// Templates that call one another deeper than this never end.
const DEPTH_MAX: usize = 1000;

/// Carries a template out; what came out before it failed is given, too.
pub(super) fn render(
    template: &Template,
    data: &Value,
    is_heading: bool,
) -> (String, Result<(), TemplateError>) {
    let is_raw = matches!(data, Value::Object(object) if object.kind == Kind::Raw);
    let mut run = Run {
        tree: &template.tree,
        source: &template.source,
        shift: template.shift,
        out: String::new(),
        variables: vec![(String::new(), data.clone())],
        root: data,
        name: "",
        depth: 0,
        spot: Spot { at: 0, text: "" },
        is_heading,
        is_raw,
    };
    let ended = run.list(&template.tree.root, data);
    (run.out, ended.map(|_| ()))
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

/// A part of a template that an error names.
#[derive(Clone, Copy)]
struct Spot<'t> {
    at: usize,
    text: &'t str,
}

struct Run<'t> {
    tree: &'t Tree,
    source: &'t str,
    /// How many bytes were typed before the template.
    shift: usize,
    out: String,
    /// Innermost last; `$` is the empty name.
    variables: Vec<(String, Value)>,
    root: &'t Value,
    /// Of the template that is carried out: the outermost has none.
    name: &'t str,
    depth: usize,
    /// What was looked at last: whatever is wrong then is told of it.
    spot: Spot<'t>,
    is_heading: bool,
    /// Whether the data has no types.
    is_raw: bool,
}

type Eval<T> = Result<T, TemplateError>;

impl<'t> Run<'t> {
    /// Fails at what was looked at last.
    fn fail<T>(&self, message: impl AsRef<str>) -> Eval<T> {
        self.fail_at(self.spot.at, self.spot.text, message)
    }

    fn fail_at<T>(&self, at: usize, node: &str, message: impl AsRef<str>) -> Eval<T> {
        let (line, mut column) = place(self.source, at);
        if line == 1 {
            column += self.shift;
        }
        let (name, message) = (print::quote(self.name), message.as_ref());
        Err(TemplateError::Failed(format!(
            ":{line}:{column}: executing {name} at <{node}>: {message}"
        )))
    }

    fn look_at(&mut self, operand: &'t Operand) {
        self.spot = Spot {
            at: operand.at,
            text: &operand.text,
        };
    }

    fn list(&mut self, nodes: &'t [Node], dot: &Value) -> Eval<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &'t Node, dot: &Value) -> Eval<Flow> {
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

    fn branch(&mut self, branch: &'t Branch, dot: &Value, moves_dot: bool) -> Eval<Flow> {
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

    fn range(&mut self, branch: &'t Branch, dot: &Value) -> Eval<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let Some(entries) = entries(&value) else {
            let shown = print::value(&value);
            return self.fail(format!("range can't iterate over {shown}"));
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
        name: &'t str,
        argument: Option<&'t Pipeline>,
        at: usize,
        dot: &Value,
    ) -> Eval<()> {
        let whole = || {
            let told = argument.map_or(String::new(), |pipeline| format!(" {}", pipeline.text()));
            format!("{{{{template {}{told}}}}}", print::quote(name))
        };
        let Some(nodes) = self.tree.defined.get(name) else {
            let message = format!("template {} not defined", print::quote(name));
            return self.fail_at(at, &whole(), message);
        };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("exceeded maximum template depth ({DEPTH_MAX})");
            return self.fail_at(at, &whole(), message);
        }
        let data = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Missing,
        };
        let variables = vec![(String::new(), data.clone())];
        let outer = std::mem::replace(&mut self.variables, variables);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.list(nodes, &data)?;
        (self.variables, self.name) = (outer, outer_name);
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
        self.fail(format!("undefined variable: ${name}"))
    }

    fn pipeline(&mut self, pipeline: &'t Pipeline, dot: &Value) -> Eval<Value> {
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

    fn command(&mut self, command: &'t Command, dot: &Value, piped: Option<Value>) -> Eval<Value> {
        let [first, arguments @ ..] = command.operands.as_slice() else {
            return Ok(Value::Missing);
        };
        if let (Term::Function(name), []) = (&first.term, first.fields.as_slice()) {
            return self.function(name, first, Some(command), dot, piped);
        }
        self.look_at(first);
        if arguments.is_empty() && piped.is_none() {
            if matches!(first.term, Term::Nil) {
                return self.fail("nil is not a command");
            }
            return self.operand(first, dot);
        }
        if first.fields.is_empty() {
            let message = format!("can't give argument to non-function {}", first.text);
            return self.fail(message);
        }
        self.method(first, arguments, dot, piped)
    }

    /// A field with arguments: the one method rows have is `.Label "name"`.
    fn method(
        &mut self,
        operand: &'t Operand,
        arguments: &'t [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Eval<Value> {
        let Some((name, path)) = operand.fields.split_last() else {
            return Ok(Value::Missing);
        };
        let start = self.term(operand, dot)?;
        let receiver = self.fields(start, path)?;
        let count = arguments.len() + usize::from(piped.is_some());
        let count_is =
            |want: usize| format!("wrong number of args for {name}: want {want} got {count}");
        let Value::Object(object) = &receiver else {
            self.fields(receiver, std::slice::from_ref(name))?;
            return self.fail(format!("{name} is not a method but has arguments"));
        };
        if name == "Label" && (is_labelled(&receiver) || self.is_heading) {
            if count != 1 {
                return self.fail(count_is(1));
            }
            let wanted = match arguments.first() {
                Some(given) => self.argument(Parameter::Text, given, dot)?,
                None => self.fitting(Parameter::Text, piped.unwrap_or_default())?,
            };
            let Value::Text(wanted) = wanted else {
                return Ok(Value::Missing);
            };
            if self.is_heading {
                let last = wanted.rsplit('.').next().unwrap_or(&wanted);
                return Ok(Value::text(last.replace(['-', '_'], " ")));
            }
            let found = object.labels.iter().find(|(label, _)| **label == *wanted);
            return Ok(Value::text(found.map_or("", |(_, value)| value.as_str())));
        }
        let (kind, is_known) = (object.kind, object.get(name).is_some());
        match kind {
            Kind::Row(_) if is_known => self.fail(count_is(0)),
            Kind::Struct if is_known => self.fail(format!(
                "{name} has arguments but cannot be invoked as function"
            )),
            Kind::Row(_) | Kind::Struct => self.fields(receiver, std::slice::from_ref(name)),
            Kind::Map | Kind::NilMap | Kind::Raw => {
                self.fail(format!("{name} is not a method but has arguments"))
            }
        }
    }

    /// Calls a function: as a whole command, or as an argument without arguments of its own.
    fn function(
        &mut self,
        name: &str,
        word: &'t Operand,
        command: Option<&'t Command>,
        dot: &Value,
        piped: Option<Value>,
    ) -> Eval<Value> {
        self.look_at(word);
        let arguments = command.map_or(&[][..], |command| &command.operands[1..]);
        let signature = functions::signature(name, self.is_heading);
        let count = arguments.len() + usize::from(piped.is_some());
        if let Some(want) = signature.misses(count) {
            let got = match signature.rest {
                Some(_) => arguments.len(),
                None => count,
            };
            return self.fail(format!(
                "wrong number of args for {name}: want {want} got {got}"
            ));
        }
        let values = match self.arguments(name, &signature, arguments, dot, piped)? {
            Arguments::All(values) => values,
            Arguments::Enough(value) => return Ok(value),
        };
        if self.is_heading && functions::is_left_in_headings(name) {
            return Ok(values.into_iter().next().unwrap_or_default());
        }
        let texts: Vec<&str> = arguments.iter().map(|given| given.text.as_str()).collect();
        let called = match wants_port(name, &values, arguments) {
            true => Err("value has type string; should be nat.Port".to_owned()),
            false => functions::call(name, &values, &texts),
        };
        called.or_else(|message| {
            let whole = command.map_or_else(|| word.text.clone(), Command::text);
            self.fail_at(word.at, &whole, format!("error calling {name}: {message}"))
        })
    }

    /// The values of the arguments, or the one of `and` or `or` that decides.
    fn arguments(
        &mut self,
        name: &str,
        signature: &Signature,
        given: &'t [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Eval<Arguments> {
        let stops_at = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut values = Vec::new();
        for (place, argument) in given.iter().enumerate() {
            let value = self.argument(signature.at(place), argument, dot)?;
            if stops_at == Some(value.is_true()) {
                return Ok(Arguments::Enough(value));
            }
            values.push(value);
        }
        if let Some(value) = piped {
            values.push(self.fitting(signature.at(given.len()), value)?);
        }
        Ok(Arguments::All(values))
    }

    /// An argument, of the type that is wanted.
    fn argument(&mut self, wanted: Parameter, given: &'t Operand, dot: &Value) -> Eval<Value> {
        self.look_at(given);
        let is_plain = given.fields.is_empty();
        let text = given.text.as_str();
        match (&given.term, wanted) {
            (Term::Nil, Parameter::Text | Parameter::Int) => {
                self.fail(format!("cannot assign nil to {}", wanted.type_name()))
            }
            (Term::TooLarge, Parameter::Text) => {
                self.fail(format!("expected string; found {text}"))
            }
            (Term::TooLarge, Parameter::Int) => {
                self.fail(format!("expected integer; found {text}"))
            }
            (Term::Nil, Parameter::Texts) => Ok(Value::List(None)),
            (Term::Nil, Parameter::Any) => Ok(Value::Missing),
            (Term::Constant(constant), _) if is_plain => match (constant, wanted) {
                (_, Parameter::Any) | (Value::Text(_), Parameter::Text) => Ok(constant.clone()),
                (_, Parameter::Int) => match constant.as_int() {
                    Some(number) => Ok(Value::Int(number)),
                    None => self.fail(format!("expected integer; found {text}")),
                },
                (_, Parameter::Text) => self.fail(format!("expected string; found {text}")),
                (_, Parameter::Texts) => {
                    self.fail(format!("can't handle {text} for arg of type []string"))
                }
            },
            _ => {
                let value = self.operand(given, dot)?;
                self.fitting(wanted, value)
            }
        }
    }

    /// A value that was worked out, if it is of the type that is wanted.
    fn fitting(&self, wanted: Parameter, value: Value) -> Eval<Value> {
        let fits = match (wanted, &value) {
            (Parameter::Any, _)
            | (Parameter::Text, Value::Text(_))
            | (Parameter::Int, Value::Int(_)) => true,
            (Parameter::Texts, Value::List(values)) => {
                let mut values = values.iter().flat_map(|values| values.iter());
                values.all(|value| matches!(value, Value::Text(_)))
            }
            _ => false,
        };
        let expected = wanted.type_name();
        match value {
            value if fits => Ok(value),
            Value::Missing if wanted == Parameter::Texts => Ok(Value::List(None)),
            Value::Missing => self.fail(format!("invalid value; expected {expected}")),
            value => {
                let got = match value {
                    Value::Int(_) | Value::Float(_) if self.is_raw => "json.Number",
                    ref value => value.type_name(),
                };
                self.fail(format!(
                    "wrong type for value; expected {expected}; got {got}"
                ))
            }
        }
    }

    fn operand(&mut self, operand: &'t Operand, dot: &Value) -> Eval<Value> {
        let start = self.term(operand, dot)?;
        self.fields(start, &operand.fields)
    }

    fn term(&mut self, operand: &'t Operand, dot: &Value) -> Eval<Value> {
        Ok(match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Missing,
            Term::Constant(value) => value.clone(),
            Term::TooLarge => {
                return self.fail(format!("{} overflows int", operand.text));
            }
            Term::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            Term::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => value.clone(),
                    None => return self.fail(format!("undefined variable: ${name}")),
                }
            }
            Term::Function(name) => self.function(name, operand, None, dot, None)?,
        })
    }

    fn fields(&self, start: Value, names: &[String]) -> Eval<Value> {
        let mut value = start;
        for (place, name) in names.iter().enumerate() {
            value = self.field(&value, name, place + 1 == names.len())?;
        }
        Ok(value)
    }

    fn field(&self, value: &Value, name: &str, is_last: bool) -> Eval<Value> {
        let object = match value {
            Value::Object(object) => object,
            Value::Text(text) => match part_of_port(text, name) {
                Some(part) => return Ok(part),
                None => return self.no_field(name, "string"),
            },
            // What is not in a map has no fields, and nobody minds.
            Value::Missing if !self.is_raw => return Ok(Value::Missing),
            Value::Missing | Value::Nil => {
                return self.fail(format!("nil pointer evaluating interface {{}}.{name}"));
            }
            other => return self.no_field(name, other.type_name()),
        };
        if let Some(found) = object.get(name) {
            return Ok(found.clone());
        }
        match object.kind {
            Kind::Map | Kind::NilMap => Ok(Value::Missing),
            Kind::Struct => match omitted(name, self.is_root(object)) {
                // What a pointer to nothing points to is looked for in vain.
                Some(empty) if empty != Value::Nil || is_last => Ok(empty),
                _ => self.fail(format!("map has no entry for key {name:?}")),
            },
            Kind::Raw => self.fail(format!("map has no entry for key {name:?}")),
            Kind::Row(_) if name == "Label" && is_labelled(value) => {
                self.fail(format!("wrong number of args for {name}: want 1 got 0"))
            }
            Kind::Row(kind) => self.no_field(name, kind),
        }
    }

    fn no_field<T>(&self, name: &str, kind: &str) -> Eval<T> {
        let kind = if self.is_raw { "interface {}" } else { kind };
        self.fail(format!("can't evaluate field {name} in type {kind}"))
    }

    fn is_root(&self, object: &Rc<super::Object>) -> bool {
        matches!(self.root, Value::Object(root) if Rc::ptr_eq(root, object))
    }
}

/// What the arguments of a function come to.
enum Arguments {
    All(Vec<Value>),
    /// Of `and` and `or`: the rest is not looked at.
    Enough(Value),
}

/// Whether a map by ports is asked with a text. Go knows these keys by a type of their own, which a text in a template is
/// not; one that comes from the map is.
fn wants_port(name: &str, values: &[Value], given: &[Operand]) -> bool {
    let is_text = |key: &Operand| !matches!(key.term, Term::Variable(_));
    name == "index" && given.get(1).is_some_and(is_text) && functions::is_by_port(&values[0])
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
