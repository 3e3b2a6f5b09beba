//! From text to events: functions, conditions, loops and tests.

use super::event::Kind;
use super::reader::{RESERVED, Reader, Result, Shape, is_name};

impl<'a> Reader<'a> {
    pub(super) fn function(&mut self, name: &'a str) -> Result<Shape> {
        if RESERVED.contains(&name) || name.contains(['=', '*', '?', '[', '~', '{', '}', '#', '!']) {
            return self.fail("a function has a name that it cannot have");
        }
        self.emit(Kind::Function, name);
        self.at += name.len();
        self.gap(false)?;
        if self.peek() == Some(b'(') {
            self.at += 1;
            self.gap(false)?;
            self.expect(")")?;
        }
        self.gap(true)?;
        let block = self.peek() == Some(b'(') || self.at_reserved(&["{"]);
        if !block {
            return self.fail("the body of a function is neither `{…}` nor `(…)`");
        }
        self.compound()?;
        self.redirections()?;
        self.emit(Kind::End, "");
        Ok(Shape::Function)
    }

    pub(super) fn compound(&mut self) -> Result<()> {
        if self.looking_at("((") {
            return self.arithmetic_command();
        }
        if self.peek() == Some(b'(') {
            self.emit(Kind::Reserved, "(");
            self.at += 1;
            self.list(|reader| reader.peek() == Some(b')'))?;
            self.expect(")")?;
            self.emit(Kind::Reserved, ")");
            return Ok(());
        }
        match self.bare_word() {
            Some("{") => {
                self.reserved("{")?;
                self.list(|reader| reader.at_reserved(&["}"]))?;
                self.reserved("}")
            }
            Some("if") => self.conditional(),
            Some("while") => self.loop_while("while"),
            Some("until") => self.loop_while("until"),
            Some("for") => self.loop_for(),
            Some("case") => self.case(),
            Some("[[") => self.test(),
            Some("time") => {
                self.reserved("time")?;
                self.gap(false)?;
                self.command().map(drop)
            }
            _ => self.fail("a reserved word stands where it may not"),
        }
    }

    pub(super) fn conditional(&mut self) -> Result<()> {
        self.reserved("if")?;
        loop {
            self.list(|reader| reader.at_reserved(&["then"]))?;
            self.reserved("then")?;
            self.list(|reader| reader.at_reserved(&["elif", "else", "fi"]))?;
            if self.bare_word() != Some("elif") {
                break;
            }
            self.reserved("elif")?;
        }
        if self.bare_word() == Some("else") {
            self.reserved("else")?;
            self.list(|reader| reader.at_reserved(&["fi"]))?;
        }
        self.reserved("fi")
    }

    pub(super) fn loop_while(&mut self, word: &'static str) -> Result<()> {
        self.reserved(word)?;
        self.list(|reader| reader.at_reserved(&["do"]))?;
        self.body()
    }

    pub(super) fn body(&mut self) -> Result<()> {
        self.reserved("do")?;
        self.list(|reader| reader.at_reserved(&["done"]))?;
        self.reserved("done")
    }

    pub(super) fn loop_for(&mut self) -> Result<()> {
        self.reserved("for")?;
        self.gap(false)?;
        if self.looking_at("((") {
            self.arithmetic_command()?;
        } else {
            let Some(name) = self.bare_word().filter(|name| is_name(name)) else {
                return self.fail("a loop has no variable");
            };
            self.emit(Kind::Operator, name);
            self.at += name.len();
            self.gap(true)?;
            if self.bare_word() == Some("in") {
                self.reserved("in")?;
                loop {
                    self.gap(false)?;
                    match self.peek() {
                        Some(b';' | b'\n') => break,
                        _ => self.word(false)?,
                    }
                }
            }
        }
        self.gap(false)?;
        if self.peek() == Some(b';') {
            self.at += 1;
        }
        self.gap(true)?;
        self.body()
    }

    pub(super) fn case(&mut self) -> Result<()> {
        self.reserved("case")?;
        self.gap(false)?;
        self.word(true)?;
        self.gap(true)?;
        self.reserved("in")?;
        loop {
            self.gap(true)?;
            if self.bare_word() == Some("esac") {
                return self.reserved("esac");
            }
            if self.peek() == Some(b'(') {
                self.at += 1;
                self.gap(false)?;
            }
            loop {
                self.word(true)?;
                self.gap(false)?;
                match self.peek() {
                    Some(b'|') => {
                        self.emit(Kind::Operator, "|");
                        self.at += 1;
                        self.gap(false)?;
                    }
                    Some(b')') => break,
                    _ => return self.fail("a pattern of a case is not closed"),
                }
            }
            self.emit(Kind::Operator, ")");
            self.at += 1;
            self.case_body()?;
        }
    }

    pub(super) fn case_body(&mut self) -> Result<()> {
        let stop =
            |reader: &Self| reader.looking_at(";;") || reader.looking_at(";&") || reader.bare_word() == Some("esac");
        self.gap(true)?;
        if !stop(self) {
            self.list(stop)?;
        }
        let operator = if self.looking_at(";;&") {
            ";;&"
        } else if self.looking_at(";&") {
            ";&"
        } else {
            ";;"
        };
        self.emit(Kind::Operator, operator);
        if self.bare_word() == Some("esac") {
            return Ok(());
        }
        self.expect(operator)
    }

    /// `[[ … ]]`. Quotes mean more here than elsewhere, so words are kept exactly as they are dressed.
    pub(super) fn test(&mut self) -> Result<()> {
        self.reserved("[[")?;
        let mut regex = false;
        loop {
            self.gap(true)?;
            if self.bare_word() == Some("]]") {
                return self.reserved("]]");
            }
            let operators = ["&&", "||", "(", ")", "<", ">"];
            let operator = operators.into_iter().find(|operator| !regex && self.looking_at(operator));
            if let Some(operator) = operator {
                self.emit(Kind::Operator, operator);
                self.at += operator.len();
                continue;
            }
            let word = self.bare_word();
            if regex {
                self.regex()?;
            } else {
                self.word(true)?;
            }
            regex = word == Some("=~");
        }
    }
}
