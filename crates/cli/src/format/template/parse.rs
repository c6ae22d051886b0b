//! Tokens → tree.

use std::collections::BTreeMap;

use super::TemplateError;
use super::lex::{Lexeme, Token, fail, lex};
use super::value::Value;
use super::{functions, print};

/// How much of a token errors show.
const SHOWN_MAX: usize = 10;

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
        let commands: Vec<String> = self.commands.iter().map(Command::text).collect();
        let commands = commands.join(" | ");
        if self.variables.is_empty() {
            return commands;
        }
        let names: Vec<String> = self
            .variables
            .iter()
            .map(|name| format!("${name}"))
            .collect();
        let sign = if self.assigns { "=" } else { ":=" };
        format!("{} {sign} {commands}", names.join(", "))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

impl Command {
    /// How Go writes it in errors.
    pub(super) fn text(&self) -> String {
        let words: Vec<&str> = self.operands.iter().map(|o| o.text.as_str()).collect();
        words.join(" ")
    }
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
    /// An integer too large for Go's.
    TooLarge,
    Pipeline(Box<Pipeline>),
}

/// Reads a template; that of a hint may ask for more.
pub(super) fn parse(source: &str, of_hook: bool) -> Result<Tree, TemplateError> {
    let mut parser = Parser {
        source,
        of_hook,
        tokens: lex(source),
        next: 0,
        variables: vec![String::new()],
        loops: 0,
        tree: Tree::default(),
    };
    parser.tree.root = parser.root()?;
    Ok(parser.tree)
}

/// What a list of nodes ended with.
#[derive(Clone, Copy)]
enum Stop {
    End,
    /// `{{else}}`, or the beginning of `{{else if …}}`.
    Else,
}

impl Stop {
    fn text(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// Words that begin an action, and are nothing else.
const KEYWORDS: [&str; 10] = [
    "block", "break", "continue", "define", "else", "end", "if", "range", "template", "with",
];

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

    /// The whole template: only here others are defined.
    fn root(&mut self) -> Parse<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek().is_some() {
            let start = self.next;
            if self.peek() == Some(&Token::Open) {
                self.next += 1;
                self.spaces();
                if self.word() == "define" {
                    self.next += 1;
                    self.define()?;
                    continue;
                }
                self.next = start;
            }
            match self.element()? {
                Element::Node(node) => nodes.push(node),
                Element::Stopped(end) => return self.fail(&format!("unexpected {}", end.text())),
            }
        }
        Ok(nodes)
    }

    /// The nodes up to what ends them.
    fn list(&mut self) -> Parse<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        while self.peek().is_some() {
            match self.element()? {
                Element::Node(node) => nodes.push(node),
                Element::Stopped(end) => return Ok((nodes, end)),
            }
        }
        self.fail("unexpected EOF")
    }

    fn element(&mut self) -> Parse<Element> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let node = Node::Text(text.clone());
                self.next += 1;
                Ok(Element::Node(node))
            }
            Some(Token::Open) => {
                self.next += 1;
                self.spaces();
                self.action()
            }
            _ => self.unexpected("input"),
        }
    }

    fn action(&mut self) -> Parse<Element> {
        let word = self.word().to_owned();
        if KEYWORDS.contains(&word.as_str()) && word != "define" {
            self.next += 1;
        }
        Ok(Element::Node(match word.as_str() {
            "if" => Node::If(self.branch("if")?),
            "range" => Node::Range(self.branch("range")?),
            "with" => Node::With(self.branch("with")?),
            "end" => {
                self.close("end")?;
                return Ok(Element::Stopped(Stop::End));
            }
            "else" => {
                self.spaces();
                // What follows is another condition, if there may be one here.
                if !matches!(self.word(), "if" | "with") {
                    self.close("else")?;
                }
                return Ok(Element::Stopped(Stop::Else));
            }
            "break" | "continue" => {
                self.close(&format!("{{{{{word}}}}}"))?;
                if self.loops == 0 {
                    return self.fail(&format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                match word.as_str() {
                    "break" => Node::Break,
                    _ => Node::Continue,
                }
            }
            "template" => self.call()?,
            "block" => self.block()?,
            _ => Node::Print(self.pipeline("command", true)?),
        }))
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
        let Some(lexeme) = self.tokens.get(self.next) else {
            return self.fail("unclosed action");
        };
        let message = match &lexeme.token {
            Token::Bad(message) => message.clone(),
            _ => format!("unexpected {} in {context}", self.shown(lexeme)),
        };
        self.next += 1;
        self.fail(&message)
    }

    /// A token as Go shows it in an error.
    fn shown(&self, lexeme: &Lexeme) -> String {
        let text = &self.source[lexeme.at..lexeme.end];
        match &lexeme.token {
            Token::Close => "\"}}\"".to_owned(),
            Token::Dot => "<.>".to_owned(),
            Token::Word(word) if word == "nil" || KEYWORDS.contains(&word.as_str()) => {
                format!("<{word}>")
            }
            _ if text.len() > SHOWN_MAX => {
                let begin: String = text.chars().take(SHOWN_MAX).collect();
                format!("{}...", print::quote(&begin))
            }
            _ => print::quote(text),
        }
    }

    fn branch(&mut self, context: &'static str) -> Parse<Branch> {
        let scope = self.variables.len();
        let pipeline = self.pipeline(context, true)?;
        self.loops += usize::from(context == "range");
        let (body, end) = self.list()?;
        self.loops -= usize::from(context == "range");
        let otherwise = match end {
            Stop::End => Vec::new(),
            Stop::Else => self.otherwise(context)?,
        };
        self.variables.truncate(scope);
        Ok(Branch {
            pipeline,
            body,
            otherwise,
        })
    }

    fn otherwise(&mut self, context: &'static str) -> Parse<Vec<Node>> {
        match (context, self.word()) {
            ("if", "if") => {
                self.next += 1;
                Ok(vec![Node::If(self.branch("if")?)])
            }
            ("with", "with") => {
                self.next += 1;
                Ok(vec![Node::With(self.branch("with")?)])
            }
            _ => match self.list()? {
                (nodes, Stop::End) => Ok(nodes),
                (_, Stop::Else) => self.fail("expected end; found {{else}}"),
            },
        }
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
        self.body(name, "define clause")
    }

    fn block(&mut self) -> Parse<Node> {
        self.spaces();
        let at = self.at();
        let name = self.name("block clause")?;
        let argument = Some(self.pipeline("block clause", true)?);
        self.body(name.clone(), "block clause")?;
        Ok(Node::Call { name, argument, at })
    }

    /// The nodes of a template that is defined: nothing of what is around it is known there.
    fn body(&mut self, name: String, context: &str) -> Parse<()> {
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, end) = self.list()?;
        (self.variables, self.loops) = (outer, loops);
        if let Stop::Else = end {
            return self.fail(&format!("unexpected {{{{else}}}} in {context}"));
        }
        // One with nothing in it may be defined anew, and defines none anew.
        match self.tree.defined.get(&name) {
            Some(known) if !is_empty(known) && !is_empty(&nodes) => {
                let told = print::quote(&name);
                return self.fail(&format!("template: multiple definition of template {told}"));
            }
            Some(known) if !is_empty(known) => {}
            _ => _ = self.tree.defined.insert(name, nodes),
        }
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
                Some(Token::Word(word)) if KEYWORDS.contains(&word.as_str()) => {
                    return self.unexpected(context);
                }
                Some(
                    Token::Dot
                    | Token::Field(_)
                    | Token::Variable(_)
                    | Token::Word(_)
                    | Token::Int(_)
                    | Token::Float(_)
                    | Token::Complex(..)
                    | Token::TooLarge
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
                && matches!(
                    operand.term,
                    Term::Dot | Term::Nil | Term::Constant(_) | Term::TooLarge
                );
            if is_plain {
                let stage = index + 1;
                return self.fail(&format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    fn declaration(&mut self, context: &str) -> Parse<(Vec<String>, bool)> {
        let mut names = Vec::new();
        loop {
            let start = self.next;
            let Some(Token::Variable(name)) = self.peek() else {
                break;
            };
            let name = name.clone();
            self.next += 1;
            self.spaces();
            match self.peek() {
                Some(Token::Declare | Token::Assign) => {
                    let assigns = self.peek() == Some(&Token::Assign);
                    self.next += 1;
                    self.variables.push(name.clone());
                    names.push(name);
                    return Ok((names, assigns));
                }
                Some(Token::Comma) => {
                    self.next += 1;
                    self.variables.push(name.clone());
                    names.push(name);
                    if context != "range" || names.len() > 1 {
                        return self.fail(&format!("too many declarations in {context}"));
                    }
                    self.spaces();
                    if !matches!(
                        self.peek(),
                        Some(Token::Variable(_) | Token::Close | Token::Right)
                    ) {
                        return self.fail("range can only initialize variables");
                    }
                }
                _ => {
                    self.next = start;
                    break;
                }
            }
        }
        Ok((names, false))
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
        let start = self.next;
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let mut operand = Operand {
            term,
            fields: Vec::new(),
            at,
            text: String::new(),
        };
        if let Some(Token::Field(name)) = self.tokens.get(start).map(|lexeme| &lexeme.token) {
            operand.fields.push(name.clone());
        }
        let text = self.written(start, &operand.term);
        // More fields of a field or a variable are of the same node; of anything else they are a chain.
        let joins = !operand.fields.is_empty() || matches!(operand.term, Term::Variable(_));
        let takes_fields = joins || matches!(operand.term, Term::Pipeline(_) | Term::Function(_));
        let begin = self.at();
        let known = operand.fields.len();
        while let Some(Token::Field(name)) = self.peek() {
            operand.fields.push(name.clone());
            self.next += 1;
        }
        let more = &operand.fields[known..];
        if !more.is_empty() && !takes_fields {
            return self.fail(&format!("unexpected . after term {}", print::quote(&text)));
        }
        if !more.is_empty() && joins {
            operand.at = begin;
        }
        let text = more.iter().fold(text, |text, name| text + "." + name);
        operand.text = text;
        Ok(Some(operand))
    }

    /// How Go writes what a term was read from.
    fn written(&self, start: usize, term: &Term) -> String {
        match term {
            Term::Pipeline(pipeline) => format!("({})", pipeline.text()),
            _ => self.tokens.get(start).map_or(String::new(), |lexeme| {
                self.source[lexeme.at..lexeme.end].to_owned()
            }),
        }
    }

    fn term(&mut self) -> Parse<Option<Term>> {
        let Some(token) = self.peek().cloned() else {
            return self.fail("unclosed action");
        };
        let term = match token {
            Token::Dot | Token::Field(_) => Term::Dot,
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    self.next += 1;
                    return self.fail(&format!("undefined variable \"${name}\""));
                }
                Term::Variable(name)
            }
            Token::Word(word) if KEYWORDS.contains(&word.as_str()) => return Ok(None),
            Token::Word(word) => self.named(&word)?,
            Token::Int(value) => Term::Constant(Value::Int(value)),
            Token::Float(value) => Term::Constant(Value::Float(value)),
            Token::Complex(real, imaginary) => Term::Constant(Value::Complex(real, imaginary)),
            Token::TooLarge => Term::TooLarge,
            Token::Text1(text) => Term::Constant(Value::text(text)),
            Token::Left => {
                self.next += 1;
                let pipeline = self.pipeline("parenthesized pipeline", false)?;
                return Ok(Some(Term::Pipeline(Box::new(pipeline))));
            }
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(term))
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

enum Element {
    Node(Node),
    Stopped(Stop),
}

/// Whether a template has nothing but blanks in it.
fn is_empty(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}
