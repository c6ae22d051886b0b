//! From outcomes to instructions.
//!
//! Jumps go forwards only, and a conditional one reaches 255 instructions. So the program is made
//! from its end: when a jump is written its targets already stand, and a target that is too far
//! gets a stepping stone (a longer jump, or a copy of the answer) right there.
//!
//! Numbers are looked up by halving: a call costs a handful of comparisons however long the profile
//! is, and the kernel, which runs the filter once for each number when it is installed, is done in
//! a fraction of the time a chain of comparisons takes.

use std::collections::HashMap;

use hull_sys::seccomp::Instruction;

use super::rules::{Case, Condition, KILL_PROCESS, Outcome, Section, Test};

pub(super) fn assemble(sections: &[Section]) -> Vec<Instruction> {
    let mut code = Code::default();
    let mut next = code.answer(KILL_PROCESS);
    for section in sections.iter().rev() {
        let tree = code.tree(&section.ranges);
        let body = code.load(NUMBER, tree);
        next = code.jump(JUMP_EQUAL, section.audit, body, next);
        // Conditional blocks refer to no architecture, but sharing them across sections would only
        // make for longer jumps.
        code.outcomes.clear();
    }
    code.load(ARCHITECTURE, next);
    code.instructions.reverse();
    code.instructions
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where things stand in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const REACH: usize = 255;

/// The program so far, last instruction first.
#[derive(Default)]
struct Code {
    instructions: Vec<Instruction>,
    answers: HashMap<u32, Label>,
    outcomes: HashMap<Outcome, Label>,
}

/// An instruction, counted from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(usize);

impl Code {
    fn tree(&mut self, ranges: &[(u32, Outcome)]) -> Label {
        match ranges {
            [(_, only)] => self.outcome(only),
            // One number in the middle of others: one comparison rather than two.
            [(_, around), (start, inner), (end, after)]
                if around == after && *end == start.wrapping_add(1) =>
            {
                let no = self.outcome(around);
                let yes = self.outcome(inner);
                self.jump(JUMP_EQUAL, *start, yes, no)
            }
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let yes = self.tree(upper);
                let no = self.tree(lower);
                self.jump(JUMP_GREATER_OR_EQUAL, upper[0].0, yes, no)
            }
        }
    }

    fn outcome(&mut self, outcome: &Outcome) -> Label {
        match outcome {
            Outcome::Always(answer) => self.answer(*answer),
            Outcome::Cases { cases, otherwise } => {
                if let Some(label) = self.outcomes.get(outcome) {
                    return *label;
                }
                let last = self.answer(*otherwise);
                let label = cases
                    .iter()
                    .rev()
                    .fold(last, |next, case| self.case(case, next));
                self.outcomes.insert(outcome.clone(), label);
                label
            }
        }
    }

    fn case(&mut self, case: &Case, no: Label) -> Label {
        let answer = self.answer(case.answer);
        case.conditions
            .iter()
            .rev()
            .fold(answer, |yes, condition| self.condition(condition, yes, no))
    }

    fn condition(&mut self, condition: &Condition, yes: Label, no: Label) -> Label {
        let operand = Operand {
            argument: u32::from(condition.argument),
            narrow: condition.narrow,
        };
        match condition.test {
            Test::Equal(value) => self.equal(operand, u64::MAX, value, yes, no),
            Test::NotEqual(value) => self.equal(operand, u64::MAX, value, no, yes),
            Test::MaskedEqual { mask, value } => self.equal(operand, mask, value, yes, no),
            Test::Greater(value) => self.order(operand, JUMP_GREATER, value, yes, no),
            Test::GreaterOrEqual(value) => {
                self.order(operand, JUMP_GREATER_OR_EQUAL, value, yes, no)
            }
            Test::LessOrEqual(value) => self.order(operand, JUMP_GREATER, value, no, yes),
            Test::Less(value) => self.order(operand, JUMP_GREATER_OR_EQUAL, value, no, yes),
        }
    }

    /// `argument & mask == value`
    fn equal(&mut self, operand: Operand, mask: u64, value: u64, yes: Label, no: Label) -> Label {
        let (mask_high, value_high) = if operand.narrow {
            (0, high(value))
        } else {
            (high(mask), high(value))
        };
        let low = self.half_equal(operand.low(), low(mask), low(value), yes, no);
        self.half_equal(operand.high(), mask_high, value_high, low, no)
    }

    fn half_equal(&mut self, offset: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        if value & !mask != 0 {
            return no;
        }
        if mask == 0 {
            return yes;
        }
        let compare = self.jump(JUMP_EQUAL, value, yes, no);
        if compare == yes {
            return yes;
        }
        let masked = match mask {
            u32::MAX => compare,
            _ => self.step(AND, mask, compare),
        };
        self.load(offset, masked)
    }

    /// `argument > value`, or `>=` with that comparison.
    fn order(
        &mut self,
        operand: Operand,
        comparison: u16,
        value: u64,
        yes: Label,
        no: Label,
    ) -> Label {
        if operand.narrow && high(value) != 0 {
            return no;
        }
        let compare = self.jump(comparison, low(value), yes, no);
        if compare == yes {
            return yes;
        }
        let low = self.load(operand.low(), compare);
        if operand.narrow {
            return low;
        }
        // The upper half decides unless it is equal.
        let equal = self.jump(JUMP_EQUAL, high(value), low, no);
        let greater = self.jump(JUMP_GREATER, high(value), yes, equal);
        self.load(operand.high(), greater)
    }

    fn answer(&mut self, answer: u32) -> Label {
        if let Some(label) = self.answers.get(&answer) {
            return *label;
        }
        let label = self.push(RETURN, 0, 0, answer);
        self.answers.insert(answer, label);
        label
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        self.step(LOAD, offset, next)
    }

    /// An instruction that is simply followed by another.
    fn step(&mut self, code: u16, k: u32, next: Label) -> Label {
        if next.0 + 1 != self.instructions.len() {
            self.stone(next);
        }
        self.push(code, 0, 0, k)
    }

    fn jump(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        // A stone for `no` would push this instruction one further from `yes`.
        let yes = self.near(yes, 1);
        let no = self.near(no, 0);
        let (jump_true, jump_false) = (self.distance(yes), self.distance(no));
        self.push(code, jump_true as u8, jump_false as u8, k)
    }

    fn near(&mut self, label: Label, spare: usize) -> Label {
        if self.distance(label) + spare <= REACH {
            label
        } else {
            self.stone(label)
        }
    }

    /// A way to `label` that starts right here.
    fn stone(&mut self, label: Label) -> Label {
        let target = self.instructions[label.0];
        if target.code == RETURN {
            let copy = self.push(RETURN, 0, 0, target.k);
            self.answers.insert(target.k, copy);
            return copy;
        }
        let distance = self.distance(label) as u32;
        self.push(JUMP, 0, 0, distance)
    }

    /// How many instructions the next one would have to skip.
    fn distance(&self, label: Label) -> usize {
        self.instructions.len() - label.0 - 1
    }

    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, k: u32) -> Label {
        self.instructions.push(Instruction {
            code,
            jump_true,
            jump_false,
            k,
        });
        Label(self.instructions.len() - 1)
    }
}

#[derive(Clone, Copy)]
struct Operand {
    argument: u32,
    narrow: bool,
}

impl Operand {
    fn low(self) -> u32 {
        ARGUMENTS + 8 * self.argument
    }

    fn high(self) -> u32 {
        self.low() + 4
    }
}

fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
