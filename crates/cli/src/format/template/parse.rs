//! Tokens → tree.

use std::collections::BTreeMap;

use super::TemplateError;
use super::functions;
use super::lex::{Lexeme, Token, fail, lex};
use super::value::Value;

/// The template and those it defines.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) root: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If(Branch),
    Range(Branch),
    With(Branch),
    Call {
        name: String,
        argument: Option<Pipeline>,
        at: usize,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// `=` rather than `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

impl Pipeline {
    /// How Go writes it in errors.
    pub(super) fn text(&self) -> String {
        let words = |command: &Command| {
            let words: Vec<&str> = command.operands.iter().map(|o| o.text.as_str()).collect();
            words.join(" ")
        };
        let commands: Vec<String> = self.commands.iter().map(words).collect();
        commands.join(" | ")
    }
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) term: Term,
    /// The fields picked from it, in order.
    pub(super) fields: Vec<String>,
    /// Where an error about it points.
    pub(super) at: usize,
    /// How Go writes it in errors.
    pub(super) text: String,
}

#[derive(Debug, Clone)]
pub(super) enum Term {
    Dot,
    Nil,
    Variable(String),
    Function(String),
    Constant(Value),
    Pipeline(Box<Pipeline>),
}

/// Reads a template; that of a hint may ask for more.
pub(super) fn parse(source: &str, of_hook: bool) -> Result<Tree, TemplateError> {
    let mut parser = Parser {
        source,
        of_hook,
        tokens: lex(source)?,
        next: 0,
        variables: vec![String::new()],
        loops: 0,
        tree: Tree::default(),
    };
    let (root, end) = parser.list()?;
    parser.tree.root = root;
    match end {
        Stop::Source => Ok(parser.tree),
        Stop::Else(_) => parser.fail("unexpected {{else}}"),
        Stop::End => parser.fail("unexpected {{end}}"),
    }
}

/// What a list of nodes ended with.
enum Stop {
    Source,
    End,
    /// `{{else}}`, or `{{else if …}}` with the word that follows.
    Else(Option<&'static str>),
}

struct Parser<'s> {
    source: &'s str,
    of_hook: bool,
    tokens: Vec<Lexeme>,
    next: usize,
    /// Names in scope; `$` is the empty one.
    variables: Vec<String>,
    loops: usize,
    tree: Tree,
}

type Parse<T> = Result<T, TemplateError>;

impl Parser<'_> {
    fn fail<T>(&self, message: &str) -> Parse<T> {
        let last = self.next.saturating_sub(1);
        let at = self
            .tokens
            .get(last)
            .map_or(self.source.len(), |lexeme| lexeme.at);
        fail(self.source, at, message)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|lexeme| &lexeme.token)
    }

    fn at(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.source.len(), |lexeme| lexeme.at)
    }

    fn spaces(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.next += 1;
        }
    }

    fn word(&self) -> &str {
        match self.peek() {
            Some(Token::Word(word)) => word,
            _ => "",
        }
    }

    fn list(&mut self) -> Parse<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        loop {
            match self.peek() {
                None => return Ok((nodes, Stop::Source)),
                Some(Token::Text(text)) => {
                    nodes.push(Node::Text(text.clone()));
                    self.next += 1;
                }
                Some(_) => {
                    self.next += 1;
                    self.spaces();
                    match self.action()? {
                        Action::Node(node) => nodes.push(node),
                        Action::Nothing => {}
                        Action::Stopped(end) => return Ok((nodes, end)),
                    }
                }
            }
        }
    }

    fn action(&mut self) -> Parse<Action> {
        let word = self.word().to_owned();
        if matches!(
            word.as_str(),
            "if" | "range"
                | "with"
                | "else"
                | "end"
                | "define"
                | "block"
                | "template"
                | "break"
                | "continue"
        ) {
            self.next += 1;
        }
        Ok(match word.as_str() {
            "if" => Action::Node(Node::If(self.branch("if")?)),
            "range" => Action::Node(Node::Range(self.branch("range")?)),
            "with" => Action::Node(Node::With(self.branch("with")?)),
            "end" => {
                self.close("end")?;
                Action::Stopped(Stop::End)
            }
            "else" => Action::Stopped(self.otherwise()?),
            "break" | "continue" => {
                self.close(&word)?;
                if self.loops == 0 {
                    return self.fail(&format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                Action::Node(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                })
            }
            "template" => Action::Node(self.call()?),
            "define" => {
                self.define()?;
                Action::Nothing
            }
            "block" => Action::Node(self.block()?),
            _ => Action::Node(Node::Print(self.pipeline("command", true)?)),
        })
    }

    fn otherwise(&mut self) -> Parse<Stop> {
        self.spaces();
        let chained = match self.word() {
            "if" => Some("if"),
            "with" => Some("with"),
            _ => None,
        };
        if chained.is_some() {
            self.next += 1;
        } else {
            self.close("else")?;
        }
        Ok(Stop::Else(chained))
    }

    fn close(&mut self, context: &str) -> Parse<()> {
        self.spaces();
        if self.peek() == Some(&Token::Close) {
            self.next += 1;
            return Ok(());
        }
        self.unexpected(context)
    }

    fn unexpected<T>(&mut self, context: &str) -> Parse<T> {
        let token = match self.peek() {
            None => return self.fail("unclosed action"),
            Some(token) => shown(token),
        };
        self.next += 1;
        self.fail(&format!("unexpected {token} in {context}"))
    }

    fn branch(&mut self, context: &'static str) -> Parse<Branch> {
        let scope = self.variables.len();
        let pipeline = self.pipeline(context, true)?;
        self.loops += usize::from(context == "range");
        let (body, end) = self.list()?;
        self.loops -= usize::from(context == "range");
        let otherwise = match end {
            Stop::End => Vec::new(),
            Stop::Source => return self.fail("unexpected EOF"),
            Stop::Else(Some(chained)) => {
                let branch = self.branch(chained)?;
                vec![if chained == "if" {
                    Node::If(branch)
                } else {
                    Node::With(branch)
                }]
            }
            Stop::Else(None) => match self.list()? {
                (nodes, Stop::End) => nodes,
                (_, Stop::Else(_)) => return self.fail("expected end; found {{else}}"),
                (_, Stop::Source) => return self.fail("unexpected EOF"),
            },
        };
        self.variables.truncate(scope);
        Ok(Branch {
            pipeline,
            body,
            otherwise,
        })
    }

    fn name(&mut self, context: &str) -> Parse<String> {
        self.spaces();
        match self.peek() {
            Some(Token::Text1(name)) => {
                let name = name.clone();
                self.next += 1;
                self.spaces();
                Ok(name)
            }
            _ => self.unexpected(context),
        }
    }

    fn call(&mut self) -> Parse<Node> {
        self.spaces();
        let at = self.at();
        let name = self.name("template clause")?;
        let argument = if self.peek() == Some(&Token::Close) {
            self.next += 1;
            None
        } else {
            Some(self.pipeline("template clause", true)?)
        };
        Ok(Node::Call { name, argument, at })
    }

    fn define(&mut self) -> Parse<()> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.body(name)
    }

    fn block(&mut self) -> Parse<Node> {
        let at = self.at();
        let name = self.name("block clause")?;
        let argument = Some(self.pipeline("block clause", true)?);
        self.body(name.clone())?;
        Ok(Node::Call { name, argument, at })
    }

    fn body(&mut self, name: String) -> Parse<()> {
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let (nodes, end) = self.list()?;
        self.variables = outer;
        if !matches!(end, Stop::End) {
            return self.fail("unexpected EOF");
        }
        self.tree.defined.insert(name, nodes);
        Ok(())
    }

    /// Reads a pipeline and the token that closes it.
    fn pipeline(&mut self, context: &str, is_action: bool) -> Parse<Pipeline> {
        self.spaces();
        let (variables, assigns) = self.declaration(context)?;
        let mut commands = Vec::new();
        loop {
            self.spaces();
            match self.peek() {
                Some(Token::Close) if is_action => break,
                Some(Token::Right) if !is_action => break,
                Some(
                    Token::Dot
                    | Token::Field(_)
                    | Token::Variable(_)
                    | Token::Word(_)
                    | Token::Int(_)
                    | Token::Float(_)
                    | Token::Text1(_)
                    | Token::Left,
                ) => commands.push(self.command()?),
                _ => return self.unexpected(context),
            }
        }
        self.next += 1;
        if commands.is_empty() {
            return self.fail(&format!("missing value for {context}"));
        }
        self.check(&commands)?;
        Ok(Pipeline {
            variables,
            assigns,
            commands,
        })
    }

    /// Only the first command of a pipeline may be a plain value.
    fn check(&self, commands: &[Command]) -> Parse<()> {
        for (index, command) in commands.iter().enumerate().skip(1) {
            let operand = &command.operands[0];
            let is_plain = operand.fields.is_empty()
                && matches!(operand.term, Term::Dot | Term::Nil | Term::Constant(_));
            if is_plain {
                let stage = index + 1;
                return self.fail(&format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    fn declaration(&mut self, context: &str) -> Parse<(Vec<String>, bool)> {
        let start = self.next;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            names.push(name.clone());
            self.next += 1;
            self.spaces();
            match self.peek() {
                Some(Token::Declare) => {
                    self.next += 1;
                    self.variables.extend(names.iter().cloned());
                    return Ok((names, false));
                }
                Some(Token::Assign) => {
                    self.next += 1;
                    return Ok((names, true));
                }
                Some(Token::Comma) if context == "range" && names.len() < 2 => {
                    self.next += 1;
                    self.spaces();
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Parse<Command> {
        let mut operands = Vec::new();
        loop {
            self.spaces();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            match self.peek() {
                Some(Token::Space) => {}
                Some(Token::Close | Token::Right) => break,
                Some(Token::Pipe) => {
                    self.next += 1;
                    self.spaces();
                    if matches!(self.peek(), None | Some(Token::Close | Token::Right)) {
                        return self.fail("missing value for command");
                    }
                    break;
                }
                _ => return self.unexpected("operand"),
            }
        }
        if operands.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command { operands })
    }

    fn operand(&mut self) -> Parse<Option<Operand>> {
        let at = self.at();
        let Some(token) = self.peek().cloned() else {
            return self.fail("unclosed action");
        };
        let mut operand = Operand {
            term: Term::Dot,
            fields: Vec::new(),
            at,
            text: String::new(),
        };
        operand.term = match token {
            Token::Dot => Term::Dot,
            Token::Field(name) => {
                operand.fields.push(name);
                Term::Dot
            }
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    self.next += 1;
                    return self.fail(&format!("undefined variable \"${name}\""));
                }
                Term::Variable(name)
            }
            Token::Word(word) => self.named(&word)?,
            Token::Int(value) => Term::Constant(Value::Int(value)),
            Token::Float(value) => Term::Constant(Value::Float(value)),
            Token::Text1(text) => Term::Constant(Value::text(text)),
            Token::Left => {
                self.next += 1;
                let pipeline = self.pipeline("parenthesized pipeline", false)?;
                self.next -= 1;
                Term::Pipeline(Box::new(pipeline))
            }
            _ => return Ok(None),
        };
        self.next += 1;
        let had_field = !operand.fields.is_empty();
        let mut first = true;
        while let Some(Token::Field(name)) = self.peek().cloned() {
            if first && had_field {
                operand.at = self.at();
            }
            first = false;
            operand.fields.push(name);
            self.next += 1;
        }
        let end = self
            .tokens
            .get(self.next)
            .map_or(self.source.len(), |lexeme| lexeme.at);
        operand.text = self.source[at..end].to_owned();
        Ok(Some(operand))
    }

    fn named(&mut self, word: &str) -> Parse<Term> {
        match word {
            "true" => Ok(Term::Constant(Value::Bool(true))),
            "false" => Ok(Term::Constant(Value::Bool(false))),
            "nil" => Ok(Term::Nil),
            _ if functions::exists(word) || (self.of_hook && functions::is_hooks(word)) => {
                Ok(Term::Function(word.to_owned()))
            }
            _ => {
                self.next += 1;
                self.fail(&format!("function {word:?} not defined"))
            }
        }
    }
}

enum Action {
    Node(Node),
    Nothing,
    Stopped(Stop),
}

/// A token as Go shows it in an error.
fn shown(token: &Token) -> String {
    match token {
        Token::Close => "\"}}\"".into(),
        Token::Open => "\"{{\"".into(),
        Token::Pipe => "\"|\"".into(),
        Token::Comma => "\",\"".into(),
        Token::Left => "\"(\"".into(),
        Token::Right => "\")\"".into(),
        Token::Declare => "\":=\"".into(),
        Token::Assign => "\"=\"".into(),
        Token::Dot => "<.>".into(),
        Token::Field(name) => format!("<.{name}>"),
        Token::Variable(name) => format!("\"${name}\""),
        Token::Word(name) => match name.as_str() {
            "end" | "else" | "if" | "range" | "with" | "define" | "template" => format!("<{name}>"),
            _ => format!("{name:?}"),
        },
        Token::Int(value) => format!("\"{value}\""),
        Token::Float(value) => format!("\"{value}\""),
        Token::Text(text) | Token::Text1(text) => format!("{text:?}"),
        Token::Space => "space".into(),
    }
}
