//! One variable at a time: its text or its default becomes a value, and what is wrong is written down.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::declare::{Raw, VARIABLES, Variable};
use super::parse::{self, Parsed};
use super::problem::{Problem, quoted};
use super::raw::Gathered;
use crate::size::ByteSize;
use crate::time::Human;

/// A variable as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its declaration.
    pub name: &'static str,
    /// Its value as `forebay check` shows it; never a secret.
    pub shown: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment.
    Set,
    /// The file that `<NAME>_FILE` names.
    File,
    /// The table of variables.
    Default,
    /// Something else that is known at start; says what.
    Derived(&'static str),
}

/// A value that is missing because it was wrong. The problem has been written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// A value, or the knowledge that its problem has been written down.
pub(super) type Taken<T> = Result<T, Refused>;

/// Turns texts into values, and collects what there is to say about them.
pub(super) struct Resolver {
    raw: Raw,
    from_file: Vec<&'static str>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    effective: Vec<Effective>,
}

impl Resolver {
    pub(super) fn new(gathered: Gathered) -> Self {
        let Gathered { raw, from_file, problems, warnings, proxies: _ } = gathered;
        Self { raw, from_file, problems, warnings, effective: Vec::new() }
    }

    pub(super) fn is_set(&self, variable: Variable) -> bool {
        variable.of(&self.raw).is_some()
    }

    /// A value that is shown as it was written.
    pub(super) fn take<T>(&mut self, variable: Variable, parse: impl FnOnce(&str) -> Parsed<T>) -> Taken<T> {
        self.take_shown(variable, |text| parse(text).map(|value| (value, text.to_owned())))
    }

    /// A value that need not be there.
    pub(super) fn optional<T>(
        &mut self,
        variable: Variable,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Taken<Option<T>> {
        if self.is_set(variable) || !variable.default.is_empty() {
            return self.take(variable, parse).map(Some);
        }
        self.note(variable, variable.shown_default().to_owned(), Origin::Default);
        Ok(None)
    }

    /// A value that must be there.
    pub(super) fn required<T>(&mut self, variable: Variable, parse: impl FnOnce(&str) -> Parsed<T>) -> Taken<T> {
        if self.is_set(variable) {
            return self.take(variable, parse);
        }
        // One that was set and could not even be read has its problem already.
        if !self.problems.iter().any(|problem| problem.name == variable.name) {
            self.problem(variable, "is required");
        }
        Err(Refused)
    }

    /// A time above zero.
    pub(super) fn duration(&mut self, variable: Variable) -> Taken<Duration> {
        self.take_shown(variable, |text| parse::duration(text).map(|value| (value, Human(value).to_string())))
    }

    /// A time where 0 has a meaning, which is shown beside it.
    pub(super) fn duration_or_zero(&mut self, variable: Variable, zero: &str) -> Taken<Duration> {
        self.take_shown(variable, |text| {
            parse::duration_or_zero(text).map(|value| match value {
                Duration::ZERO => (value, zero.to_owned()),
                _ => (value, Human(value).to_string()),
            })
        })
    }

    /// A number of bytes within bounds.
    pub(super) fn size(&mut self, variable: Variable, bounds: RangeInclusive<u64>) -> Taken<ByteSize> {
        self.take_shown(variable, |text| parse::size(text, bounds).map(|value| (value, value.to_string())))
    }

    /// A whole number within bounds.
    pub(super) fn count<T>(&mut self, variable: Variable, bounds: RangeInclusive<T>) -> Taken<T>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        self.take(variable, |text| parse::count(text, bounds))
    }

    /// A value that follows from something else.
    pub(super) fn derive<T>(&mut self, variable: Variable, value: T, shown: &impl ToString, from: &'static str) -> T {
        self.note(variable, shown.to_string(), Origin::Derived(from));
        value
    }

    /// Writes down what is wrong with a variable, with the value it has.
    pub(super) fn problem(&mut self, variable: Variable, reason: impl Into<String>) {
        let value = variable.of(&self.raw).map(str::to_owned);
        self.problems.push(Problem::with(&variable, value.as_deref(), reason));
    }

    /// Hands over the warnings, and what is in force in the order of the table.
    pub(super) fn finish(&mut self) -> (Vec<String>, Vec<Effective>) {
        self.effective.sort_by_key(|e| VARIABLES.iter().position(|v| v.name == e.name));
        (std::mem::take(&mut self.warnings), std::mem::take(&mut self.effective))
    }

    /// Hands over the problems, in the order of the table; names that are not in it come last.
    pub(super) fn refuse(&mut self) -> Vec<Problem> {
        let place = |name: &str| VARIABLES.iter().position(|v| v.name == name).unwrap_or(VARIABLES.len());
        self.problems.sort_by_key(|problem| place(&problem.name));
        std::mem::take(&mut self.problems)
    }

    fn take_shown<T>(&mut self, variable: Variable, parse: impl FnOnce(&str) -> Parsed<(T, String)>) -> Taken<T> {
        let (text, origin) = match variable.of(&self.raw) {
            Some(text) if self.from_file.contains(&variable.name) => (text, Origin::File),
            Some(text) => (text, Origin::Set),
            None => (variable.default, Origin::Default),
        };
        // Blanks around a value come from careless .env files; where they may be meant they stay.
        let text = if variable.is_secret() || variable.empty_is_a_value { text } else { text.trim() };
        match parse(text) {
            Ok((value, shown)) => {
                let shown = match origin {
                    Origin::File if variable.is_secret() => "(from file)".to_owned(),
                    _ if variable.is_secret() => "(set)".to_owned(),
                    _ if shown.trim() != shown || shown.is_empty() || shown.contains(char::is_control) => {
                        quoted(&shown)
                    }
                    _ => shown,
                };
                self.note(variable, shown, origin);
                Ok(value)
            }
            Err(reason) => {
                self.problem(variable, reason);
                Err(Refused)
            }
        }
    }

    fn note(&mut self, variable: Variable, shown: String, origin: Origin) {
        self.effective.push(Effective { name: variable.name, shown, origin });
    }
}
