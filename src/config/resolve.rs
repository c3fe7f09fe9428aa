//! One variable at a time: its text or its default becomes a value, and what is wrong is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::declare::{self as var, Raw, VARIABLES, Variable};
use super::outbound::ProxyVariables;
use super::parse::{self, Parsed};
use super::problem::{Problem, quoted};
use super::raw::{Gathered, Layer};
use super::typo;
use crate::size::ByteSize;
use crate::time::Human;

/// A variable as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its name, as it would be set.
    pub name: String,
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
    /// Another variable, which has this name.
    Follows(&'static str),
    /// Something else that is known at start; says what.
    Derived(&'static str),
}

/// A value that is missing because it was wrong. The problem has been written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// A value, or the knowledge that its problem has been written down.
pub(super) type Taken<T> = Result<T, Refused>;

/// Whose variables are asked for.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// The global ones.
    Global,
    /// The global ones, where they make no route and are only what routes fall back to: they must have a meaning, but
    /// what they mean together is not looked at.
    Fallback,
    /// Those of a route, and what it falls back to.
    Route {
        /// Its name.
        name: String,
        /// Its origin is that of the global URL: credentials may be used.
        same_origin: bool,
    },
}

/// Turns texts into values, and collects what there is to say about them.
pub(super) struct Resolver {
    global: Layer,
    routes: BTreeMap<String, Layer>,
    scope: Scope,
    /// What the environment says to every program about outbound proxies.
    pub(super) proxies: ProxyVariables,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    effective: Vec<Effective>,
    /// Variables that change nothing in one route, with the warning, and those that do in one.
    idle: Vec<(String, String)>,
    busy: BTreeSet<String>,
}

impl Resolver {
    pub(super) fn new(gathered: Gathered) -> Self {
        let Gathered { global, routes, proxies, problems } = gathered;
        Self {
            global,
            routes,
            scope: Scope::Global,
            proxies,
            problems,
            warnings: Vec::new(),
            effective: Vec::new(),
            idle: Vec::new(),
            busy: BTreeSet::new(),
        }
    }

    /// The names of the routes.
    pub(super) fn route_names(&self) -> Vec<String> {
        self.routes.keys().cloned().collect()
    }

    /// From here on, these variables are asked for.
    pub(super) fn enter(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// Whether what is resolved is what routes fall back to, and no route itself.
    pub(super) fn is_fallback(&self) -> bool {
        matches!(self.scope, Scope::Fallback)
    }

    /// Whether a variable is set, for the route or for what it falls back to.
    pub(super) fn is_set(&self, variable: Variable) -> bool {
        self.text(variable).is_some()
    }

    /// Whether a route sets a variable itself.
    pub(super) fn is_own(&self, variable: Variable) -> bool {
        self.own_layer().is_some_and(|layer| variable.of(&layer.raw).is_some())
    }

    /// The name of the variable that is in force: the route's where it has its own.
    pub(super) fn name(&self, variable: Variable) -> String {
        match &self.scope {
            Scope::Route { name, .. } if self.is_own(variable) => variable.of_route(name),
            _ => variable.name.to_owned(),
        }
    }

    /// Of variables that disagree, the one to name: that of the route, else the first.
    pub(super) fn culprit(&self, variables: [Variable; 2]) -> Variable {
        variables.into_iter().find(|v| self.is_own(*v)).unwrap_or(variables[0])
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

    /// A time above zero that need not be there.
    pub(super) fn optional_duration(&mut self, variable: Variable) -> Taken<Option<Duration>> {
        if self.is_set(variable) {
            return self.duration(variable).map(Some);
        }
        self.optional(variable, |_| Ok(Duration::ZERO))
    }

    /// A variable that is not set, and need not be.
    pub(super) fn unset(&mut self, variable: Variable) {
        self.note(variable, "unset".to_owned(), Origin::Default);
    }

    /// A value that must be there. A route does not fall back for it.
    pub(super) fn required<T>(&mut self, variable: Variable, parse: impl FnOnce(&str) -> Parsed<T>) -> Taken<T> {
        if self.is_set(variable) {
            return self.take(variable, parse);
        }
        self.missing(variable, "is required")
    }

    /// Refuses a variable that is not there, of the route where there is one. What was set and could not even be read,
    /// itself or its file, has its problem already.
    pub(super) fn missing<T>(&mut self, variable: Variable, reason: &str) -> Taken<T> {
        let name = match &self.scope {
            Scope::Route { name, .. } => variable.of_route(name),
            _ => variable.name.to_owned(),
        };
        let file = variable.is_secret().then(|| format!("{name}_FILE"));
        if !self.problems.iter().any(|other| other.name == name || Some(&other.name) == file.as_ref()) {
            self.problems.push(Problem::with(&variable, None, reason).named(name));
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

    /// A time that is that of another variable.
    pub(super) fn follow(&mut self, variable: Variable, followed: Variable, value: Duration) -> Duration {
        let shown = Human(value).to_string();
        match &self.scope {
            Scope::Route { name, .. } if self.is_own(followed) => {
                let name = variable.of_route(name);
                self.effective.push(Effective { name, shown, origin: Origin::Follows(followed.name) });
            }
            Scope::Route { .. } => {}
            Scope::Global | Scope::Fallback => self.note(variable, shown, Origin::Follows(followed.name)),
        }
        value
    }

    /// A value that follows from what is known about this machine.
    pub(super) fn derive<T: ToString>(&mut self, variable: Variable, value: T, from: &'static str) -> T {
        self.note(variable, value.to_string(), Origin::Derived(from));
        value
    }

    /// Writes down what is wrong with a variable, with the value it has.
    pub(super) fn problem(&mut self, variable: Variable, reason: impl Into<String>) {
        let problem = Problem::with(&variable, self.text(variable), reason).named(self.name(variable));
        self.report(problem);
    }

    /// Writes down a problem; one that several routes have in common, once.
    pub(super) fn report(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Writes down that variables contradict each other, which matters only where they are used together.
    pub(super) fn conflict(&mut self, variable: Variable, reason: impl Into<String>) {
        if !self.is_fallback() {
            self.problem(variable, reason);
        }
    }

    /// Writes down what may not be meant; what several routes have in common, once.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.is_fallback() && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// A credential is set, and no route can inherit it.
    pub(super) fn warn_of_fallback(&mut self, variable: Variable) {
        self.warnings.push(format!(
            "{} has no effect: it is used at the origin of UPSTREAM_BASE_URL alone, which is not set (a route may have its \
             own, ROUTE_<NAME>_{})",
            variable.name, variable.name
        ));
    }

    /// A variable, if it is set, changes nothing here. That is worth a warning if it changes nothing elsewhere either.
    pub(super) fn changes_nothing(&mut self, variable: Variable, without: &str) {
        if self.is_set(variable) && !self.is_fallback() {
            let name = self.name(variable);
            self.idle.push((name.clone(), format!("{name} has no effect without {without}")));
        }
    }

    /// A variable is needed here.
    pub(super) fn changes_something(&mut self, variable: Variable) {
        if !self.is_fallback() {
            self.busy.insert(self.name(variable));
        }
    }

    /// Hands over the warnings, and what is in force: globally, then for each route, in the order of the table.
    pub(super) fn finish(&mut self) -> (Vec<String>, Vec<Effective>) {
        self.enter(Scope::Global);
        for (name, warning) in std::mem::take(&mut self.idle) {
            if !self.busy.contains(&name) {
                self.warn(warning);
            }
        }
        self.effective.sort_by(|a, b| place(&a.name).cmp(&place(&b.name)));
        (std::mem::take(&mut self.warnings), std::mem::take(&mut self.effective))
    }

    /// Hands over the problems in the same order.
    pub(super) fn refuse(&mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| place(&a.name).cmp(&place(&b.name)));
        std::mem::take(&mut self.problems)
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    fn take_shown<T>(&mut self, variable: Variable, parse: impl FnOnce(&str) -> Parsed<(T, String)>) -> Taken<T> {
        let (text, origin) = match self.found(variable) {
            Some((text, layer)) if layer.from_file.contains(&variable.name) => (text, Origin::File),
            Some((text, _)) => (text, Origin::Set),
            None => (variable.default, Origin::Default),
        };
        // Blanks around a value come from careless .env files; where they may be meant they stay.
        let text = if variable.is_secret() || variable.empty_is_a_value { text } else { text.trim() };
        match parse(text) {
            Ok((value, shown)) => {
                let shown = match origin {
                    Origin::File if variable.is_secret() => "(from file)".to_owned(),
                    Origin::Set if variable.is_secret() => "(set)".to_owned(),
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

    /// Of a route, only what it sets itself.
    fn note(&mut self, variable: Variable, shown: String, origin: Origin) {
        let name = match &self.scope {
            Scope::Route { .. } if !self.is_own(variable) => return,
            _ => self.name(variable),
        };
        self.effective.push(Effective { name, shown, origin });
    }

    fn text(&self, variable: Variable) -> Option<&str> {
        self.found(variable).map(|(text, _)| text)
    }

    /// The text that is in force, and where it was.
    fn found(&self, variable: Variable) -> Option<(&str, &Layer)> {
        let of = |layer: &'_ Layer| variable.of(&layer.raw).is_some();
        let layer = match self.own_layer() {
            Some(own) if of(own) => own,
            Some(_) if !self.falls_back(variable) => return None,
            _ => &self.global,
        };
        variable.of(&layer.raw).map(|text| (text, layer))
    }

    fn own_layer(&self) -> Option<&Layer> {
        match &self.scope {
            Scope::Route { name, .. } => self.routes.get(name),
            Scope::Global | Scope::Fallback => None,
        }
    }

    /// Whether a route that does not set a variable has its global value. Where a route is, it says itself; and a key or
    /// a proxy of one origin is nobody else's by inheritance.
    fn falls_back(&self, variable: Variable) -> bool {
        let same_origin = !matches!(self.scope, Scope::Route { same_origin: false, .. });
        let raw: &Raw = &self.global.raw;
        match variable.name {
            name if name == var::UPSTREAM_BASE_URL.name || name == var::PREFIX.name => false,
            name if name.starts_with(var::UPSTREAM_API_KEY.name) => same_origin,
            // `off` gives nothing away.
            name if name == var::OUTBOUND_PROXY.name => {
                same_origin || var::OUTBOUND_PROXY.of(raw).is_some_and(|text| text.trim().eq_ignore_ascii_case("off"))
            }
            _ => true,
        }
    }
}

/// Where a name stands in listings: the global ones (of these, what is in no table last), then each route.
fn place(name: &str) -> (Option<&str>, usize) {
    let (route, stem) = typo::route(name).map_or((None, name), |(route, stem)| (Some(route), stem));
    // The prefix is what a route begins with.
    let position = VARIABLES.iter().position(|v| v.name == stem).unwrap_or(VARIABLES.len());
    (route, if stem == var::PREFIX.stem() { 0 } else { position + 1 })
}
