//! Which steps a request is for: known before anything runs.
//!
//! When a chain is built, its steps are counted through in the order in which they are written. A [`Plan`] names those of them that
//! may answer a path and method; there is one for each pattern and method, so that serving a request only looks it up.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::Request;
use crate::build::BuildError;
use crate::next::{BoxTail, Cx};
use crate::pattern::{Pattern, Prefix, canonical, join};
use crate::step::Resume;

pub(crate) type Place = &'static Location<'static>;

/// What happens with the requests of one path and method.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) index: usize,
    /// The handlers that match, in the order in which they are written.
    pub(crate) steps: Box<[u32]>,
    /// The way of the request: these handlers, and the ends of scopes that it reaches. The last one is the end at which it is answered, if no
    /// handler does.
    pub(crate) stops: Box<[u32]>,
    /// What is answered there, by which hook, if by any.
    pub(crate) outcome: Outcome,
    pub(crate) hook: Option<usize>,
    /// Which pattern matched, if one did.
    pub(crate) route: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Found,
    NotFound,
    BadEncoding,
    NotAllowed(HeaderValue),
    Options(HeaderValue),
}

/// One pattern, with everything that was registered for it.
#[derive(Debug)]
struct Entry {
    pattern: Option<Arc<MatchedPattern>>,
    methods: Vec<(Method, usize)>,
    other: usize,
    /// Of two patterns that match a path, the one of lower rank answers.
    rank: usize,
}

impl Entry {
    fn plan(&self, method: &Method) -> usize {
        let found = self.methods.iter().find(|(candidate, _)| candidate == method);
        found.map_or(self.other, |(_, plan)| *plan)
    }
}

#[derive(Debug)]
pub(crate) struct MatchedPattern {
    pub(crate) text: String,
    pub(crate) names: Vec<String>,
}

/// The pattern and the parameters of a request, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Matched {
    pattern: Arc<MatchedPattern>,
    /// `None` for a pattern without parameters.
    captured: Option<Arc<Captured>>,
    /// How many segments of the path stand before the scope of the step that looks.
    depth: usize,
}

/// A path, and where in it the values of the parameters are.
#[derive(Debug)]
struct Captured {
    path: Box<str>,
    spans: Vec<(usize, usize)>,
}

impl Matched {
    pub(crate) fn pattern(&self) -> &str {
        &self.pattern.text
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Names and decoded values, in the order of the path.
    #[cfg(feature = "query")]
    pub(crate) fn params(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        self.raw_params().map(|(name, value)| (name, crate::pattern::decode_value(value)))
    }

    /// As [`params`](Self::params), with slashes inside a value still encoded.
    pub(crate) fn raw_params(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.captured.iter().flat_map(|captured| {
            captured.spans.iter().filter_map(|&(start, end)| captured.path.get(start..end))
        });
        self.pattern.names.iter().map(String::as_str).zip(values)
    }
}

/// The table of a built chain.
pub struct Routes {
    paths: matchit::Router<usize>,
    /// By the number of segments before the catch-all: those of one number never meet a parameter in its place.
    catch_alls: Vec<matchit::Router<usize>>,
    /// Patterns with a parameter that is a part of a segment, each by itself: `matchit` doesn't go back from those.
    partials: Vec<matchit::Router<usize>>,
    entries: Vec<Entry>,
    /// What handlers without a path answer.
    anywhere: Option<Entry>,
    /// The scopes with something to say to requests that no handler matches, the innermost first.
    scopes: Vec<(matchit::Router<()>, usize)>,
    not_found: usize,
    bad_encoding: usize,
    options_star: usize,
    plans: Vec<Plan>,
    pub(crate) tables: Vec<Arc<dyn Resume>>,
    pub(crate) hooks: Vec<BoxTail>,
    listing: Vec<Route>,
    tree: Vec<Node>,
    /// Of each step, its line in the tree.
    #[cfg(feature = "step-times")]
    nodes: Vec<usize>,
    /// No other chain has the same.
    #[cfg(feature = "step-times")]
    pub(crate) id: u32,
    /// Whether a step decides on the path that was matched.
    pub(crate) gated: bool,
    /// Whether a service stands behind the chain.
    in_front: bool,
}

impl Routes {
    pub(crate) fn plan(&self, index: usize) -> &Plan {
        &self.plans[index]
    }

    pub(crate) fn pattern(&self, route: usize) -> &str {
        self.entries[route].pattern.as_ref().map_or("", |pattern| &pattern.text)
    }

    pub(crate) fn listing(&self) -> &[Route] {
        &self.listing
    }

    /// The line of a step.
    #[cfg(feature = "step-times")]
    pub(crate) fn node(&self, step: u32) -> Option<&Node> {
        self.nodes.get(step as usize).and_then(|&node| self.tree.get(node))
    }

    #[cfg(feature = "overhead")]
    pub(crate) fn tree(&self) -> &[Node] {
        &self.tree
    }

    /// Matches path and method, and puts the parameters into the extensions.
    pub(crate) fn find(&self, req: &mut Request) -> usize {
        if !req.extensions().is_empty() {
            // A chain around this one may have left its own.
            req.extensions_mut().remove::<Matched>();
        }
        let (plan, matched) = self.look_up(req);
        if let Some(matched) = matched {
            req.extensions_mut().insert(matched);
        }
        plan
    }

    fn look_up(&self, req: &Request) -> (usize, Option<Matched>) {
        let raw = req.uri().path();
        if self.entries.is_empty() {
            let plan =
                self.anywhere.as_ref().map_or(self.not_found, |entry| entry.plan(req.method()));
            return (plan, None);
        }
        let anywhere = self.anywhere.as_ref().map(|entry| entry.plan(req.method()));
        if raw == "*" && *req.method() == Method::OPTIONS {
            return (anywhere.unwrap_or(self.options_star), None);
        }
        let Ok(path) = canonical(raw) else {
            // What stands behind a chain may see it otherwise.
            return (anywhere.filter(|_| self.in_front).unwrap_or(self.bad_encoding), None);
        };
        let mut found = self.paths.at(&path).ok();
        if found.as_ref().is_none_or(|found| !found.params.is_empty()) {
            let others = self.catch_alls.iter().chain(&self.partials);
            let others = others.filter_map(|router| router.at(&path).ok());
            found =
                found.into_iter().chain(others).min_by_key(|found| self.entries[*found.value].rank);
        }
        let Some(found) = found else {
            let scope = || self.scopes.iter().find(|(router, _)| router.at(&path).is_ok());
            let plan = anywhere.unwrap_or_else(|| scope().map_or(self.not_found, |scope| scope.1));
            return (plan, None);
        };
        let entry = &self.entries[*found.value];
        let plan = entry.plan(req.method());
        if found.params.is_empty() {
            return (plan, None);
        }
        let span = |value: &str| {
            let start = value.as_ptr() as usize - path.as_ptr() as usize;
            (start, start + value.len())
        };
        let matched = entry.pattern.as_ref().map(|pattern| Matched {
            pattern: pattern.clone(),
            captured: Some(Arc::new(Captured {
                spans: found.params.iter().map(|(_, value)| span(value)).collect(),
                path: Box::from(&*path),
            })),
            depth: 0,
        });
        (plan, matched)
    }

    /// Puts the matched pattern where extractors look for it, if it isn't there already.
    pub(crate) fn show_match(&self, cx: &Cx<'_>, req: &mut Request) {
        if let Some(matched) = req.extensions_mut().get_mut::<Matched>() {
            matched.depth = cx.depth;
            return;
        }
        let entry = cx.plan.route.map(|route| &self.entries[route]);
        if let Some(pattern) = entry.and_then(|entry| entry.pattern.as_ref()) {
            req.extensions_mut().insert(Matched {
                pattern: pattern.clone(),
                captured: None,
                depth: cx.depth,
            });
        }
    }
}

/// A path of a built chain, and what stands behind it.
///
/// [`ChainService::routes`](crate::ChainService::routes) lists them.
///
/// # Example
///
/// Every route that changes something stands behind a check:
///
/// ```
/// use tower_chain::{Chain, Error, StatusCode};
///
/// async fn signed_in(headers: http::HeaderMap) -> Result<(), Error> {
///     let known = headers.contains_key("x-user");
///     known.then_some(()).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
/// }
///
/// async fn list() {}
/// async fn create() {}
///
/// let api = Chain::new().at("/users", |c| c.get(list).guard(signed_in).post(create)).build();
/// for route in api.routes() {
///     for handler in route.handlers() {
///         let reads = handler.method() == Some(&http::Method::GET);
///         let is_open = !handler.middleware().iter().any(|name| name == "signed_in");
///         assert!(reads || !is_open, "{} of {:?} is open", handler.name(), route.pattern());
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pattern: Option<String>,
    handlers: Vec<RouteHandler>,
}

impl Route {
    /// The whole pattern, such as `/users/{id}`. `None`: any path.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref()
    }

    /// What is registered for the path, in the order in which it is written.
    pub fn handlers(&self) -> &[RouteHandler] {
        &self.handlers
    }
}

/// A handler of a built chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteHandler {
    method: Option<Method>,
    name: String,
    middleware: Vec<String>,
}

impl RouteHandler {
    /// The method that it answers. `None`: every method.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The name of its function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the middleware in front of it, in the order in which it runs.
    pub fn middleware(&self) -> &[String] {
        &self.middleware
    }
}

/// A line of the tree of steps.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) depth: usize,
    pub(crate) text: String,
    /// The number of the step, if it is one that runs.
    #[cfg_attr(not(feature = "step-times"), allow(dead_code, reason = "nobody else asks"))]
    pub(crate) step: Option<u32>,
}

/// The tree of the steps of a built chain, in the order in which they are written.
impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "/")?;
        for (i, node) in self.tree.iter().enumerate() {
            write_branch(f, self.tree[i..].iter().map(|node| node.depth))?;
            writeln!(f, "{}", node.text)?;
        }
        Ok(())
    }
}

/// Draws what stands before a node of a tree. It is told the depths of this node and of those after it.
pub(crate) fn write_branch(
    f: &mut impl fmt::Write,
    mut depths: impl Iterator<Item = usize> + Clone,
) -> fmt::Result {
    let own = depths.next().unwrap_or(0);
    for depth in 1..=own {
        let continues = depths.clone().take_while(|next| *next >= depth).any(|next| next == depth);
        f.write_str(match (depth == own, continues) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        })?;
    }
    Ok(())
}

/// Settings of a chain, which hold for the chains inside it as well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub(crate) strict_slash: bool,
    pub(crate) no_auto_options: bool,
}

impl Settings {
    fn or(self, outer: Self) -> Self {
        Self {
            strict_slash: self.strict_slash || outer.strict_slash,
            no_auto_options: self.no_auto_options || outer.no_auto_options,
        }
    }
}

/// Counts the steps of a chain through, and remembers which of them are handlers for what.
pub struct Registrar {
    next_step: u32,
    pub(crate) next_table: u32,
    stack: Vec<Scope>,
    handlers: Vec<Handler>,
    ends: Vec<ScopeEnd>,
    hooks: Vec<BoxTail>,
    tree: Vec<Node>,
    errors: Vec<BuildError>,
    gated: bool,
    in_front: bool,
}

/// The end of a scope, as a request sees it.
struct ScopeEnd {
    prefix: String,
    /// Its number, once the scope was left.
    end: u32,
    outer: Option<usize>,
    /// The hooks in force there.
    hooks: Hooks,
    /// Those that stand in the scope itself.
    own: Hooks,
    /// Whether something in the scope sees requests that no handler matches.
    listens: bool,
}

struct Scope {
    /// Its place among the ends.
    id: usize,
    prefix: String,
    settings: Settings,
    hooks: Hooks,
    own: Hooks,
    middleware: Vec<String>,
    /// Whether something in it sees requests that no handler matches.
    always: bool,
}

/// The hooks in force, as places in [`Registrar::hooks`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {
    pub(crate) no_match: Option<usize>,
    pub(crate) not_allowed: Option<usize>,
}

/// What a scope is told when it is left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left {
    pub(crate) end: u32,
    /// How many segments the path of the scope has.
    pub(crate) depth: usize,
}

struct Handler {
    step: u32,
    /// `None`: any path.
    pattern: Option<String>,
    method: Option<Method>,
    passes: bool,
    name: String,
    middleware: Vec<String>,
    place: Place,
    /// Its scope, as a place among the ends.
    scope: usize,
    settings: Settings,
}

impl Registrar {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut this = Self {
            next_step: 0,
            next_table: 0,
            stack: Vec::new(),
            handlers: Vec::new(),
            ends: Vec::new(),
            hooks: Vec::new(),
            tree: Vec::new(),
            errors: Vec::new(),
            gated: false,
            in_front: false,
        };
        this.open(String::new(), settings, Hooks::default());
        this
    }

    fn open(&mut self, prefix: String, settings: Settings, hooks: Hooks) {
        let id = self.ends.len();
        let outer = self.stack.last().map(|scope| scope.id);
        let own = Hooks::default();
        self.ends.push(ScopeEnd {
            prefix: prefix.clone(),
            end: 0,
            outer,
            hooks,
            own,
            listens: false,
        });
        self.stack.push(Scope {
            id,
            prefix,
            settings,
            hooks,
            own,
            middleware: Vec::new(),
            always: false,
        });
    }

    pub(crate) fn next_step(&self) -> u32 {
        self.next_step
    }

    pub(crate) fn next_table(&mut self) -> u32 {
        self.next_table += 1;
        self.next_table - 1
    }

    fn count(&mut self) -> u32 {
        self.next_step += 1;
        self.next_step - 1
    }

    fn scope(&mut self) -> &mut Scope {
        // The outermost scope is never left.
        let last = self.stack.len() - 1;
        &mut self.stack[last]
    }

    fn node(&mut self, text: String, step: Option<u32>) {
        let depth = self.stack.len();
        self.tree.push(Node { depth, text, step });
    }

    /// Counts a middleware.
    pub(crate) fn middleware(&mut self, verb: &str, name: String, always: bool) -> u32 {
        self.node(format!("{verb} {name}"), Some(self.next_step));
        let scope = self.scope();
        scope.always |= always;
        scope.middleware.push(name);
        self.count()
    }

    /// The middleware that was counted last is for the paths under a prefix alone.
    pub(crate) fn prefix(&mut self, path: &str, place: Place) -> Option<Prefix> {
        self.gated = true;
        if let Some(node) = self.tree.last_mut() {
            node.text = node.text.replacen(' ', &format!(" {path} "), 1);
        }
        let prefix = Prefix::parse(&self.absolute(path));
        prefix.map_err(|reason| self.fail(BuildError::pattern(path, place, reason))).ok()
    }

    /// Counts a handler of the present scope.
    pub(crate) fn handler(
        &mut self,
        method: Option<Method>,
        name: String,
        passes: bool,
        place: Place,
    ) -> u32 {
        let text = format!("{} {name}", method.as_ref().map_or("ALL", Method::as_str));
        self.node(text, Some(self.next_step));
        let pattern = (self.stack.len() > 1).then(|| self.scope().prefix.clone());
        self.add(pattern, method, name, passes, place)
    }

    /// Counts a service that answers a path and everything under it.
    pub(crate) fn service(&mut self, name: String, place: Place) -> u32 {
        self.node(format!("ALL {name}"), Some(self.next_step));
        let prefix = self.scope().prefix.clone();
        // The name of the rest must not be one of the prefix.
        let rest = if prefix.contains("{path}") { "/{*rest_of_path}" } else { "/{*path}" };
        let mut patterns = vec![join(&prefix, rest), prefix.clone()];
        if self.scope().settings.strict_slash {
            patterns.push(join(&prefix, "/"));
        }
        let step = self.next_step;
        for pattern in patterns {
            self.next_step = step;
            self.add(Some(pattern), None, name.clone(), false, place);
        }
        step
    }

    fn add(
        &mut self,
        pattern: Option<String>,
        method: Option<Method>,
        name: String,
        passes: bool,
        place: Place,
    ) -> u32 {
        let step = self.count();
        let middleware =
            self.stack.iter().flat_map(|scope| scope.middleware.iter().cloned()).collect();
        let &mut Scope { id: scope, settings, .. } = self.scope();
        self.handlers.push(Handler {
            step,
            pattern,
            method,
            passes,
            name,
            middleware,
            place,
            scope,
            settings,
        });
        step
    }

    /// Notes a hook for the steps after it.
    pub(crate) fn hook(
        &mut self,
        verb: &str,
        name: String,
        endpoint: BoxTail,
        set: fn(&mut Hooks, usize),
    ) {
        self.node(format!("{verb} {name}"), None);
        let index = self.hooks.len();
        self.hooks.push(endpoint);
        let scope = self.scope();
        scope.always = true;
        set(&mut scope.hooks, index);
        set(&mut scope.own, index);
    }

    /// Opens the scope of a path. The steps that follow belong to it, until [`leave`](Self::leave).
    pub(crate) fn enter(&mut self, path: &str, settings: Settings, place: Place) {
        self.node(path.to_owned(), None);
        if let Err(reason) = Pattern::parse(path) {
            self.errors.push(BuildError::pattern(path, place, reason));
        }
        let outer = self.scope();
        let (prefix, hooks) = (join(&outer.prefix, path), outer.hooks);
        let settings = settings.or(outer.settings);
        self.open(prefix, settings, hooks);
    }

    /// Closes the present scope.
    pub(crate) fn leave(&mut self) -> Left {
        let end = self.count();
        let &mut Scope { id, hooks, own, always, .. } = self.scope();
        let left = &mut self.ends[id];
        left.listens = id > 0 && (always || hooks.no_match.is_some());
        (left.end, left.hooks, left.own) = (end, hooks, own);
        let depth = Pattern::parse(&left.prefix).map_or(0, |pattern| pattern.depth());
        if id > 0 {
            self.stack.pop();
        }
        Left { end, depth }
    }

    /// Closes the outermost scope of a chain that stands in front of a service: what no handler answered goes there.
    pub(crate) fn end_in_service(&mut self, place: Place) -> Left {
        self.in_front = true;
        let name = "the inner service";
        self.node(name.to_owned(), Some(self.next_step));
        let step = self.add(None, None, name.to_owned(), false, place);
        self.next_step = step;
        self.leave()
    }

    pub(crate) fn fail(&mut self, error: BuildError) {
        self.errors.push(error);
    }

    /// The prefix of the present scope, and `path` after it.
    pub(crate) fn absolute(&mut self, path: &str) -> String {
        let prefix = self.scope().prefix.clone();
        join(&prefix, path)
    }

    /// Makes the table of all paths, once all steps are counted and the outermost scope was left with `end`.
    pub(crate) fn finish(mut self, end: u32) -> Result<Routes, BuildError> {
        if !self.errors.is_empty() {
            return Err(self.errors.swap_remove(0));
        }
        let mut table = Table {
            routes: Routes {
                paths: matchit::Router::new(),
                catch_alls: Vec::new(),
                partials: Vec::new(),
                entries: Vec::new(),
                anywhere: None,
                scopes: Vec::new(),
                not_found: 0,
                bad_encoding: 0,
                options_star: 0,
                plans: Vec::new(),
                tables: Vec::new(),
                hooks: self.hooks,
                listing: Vec::new(),
                #[cfg(feature = "step-times")]
                nodes: nodes(&self.tree),
                #[cfg(feature = "step-times")]
                id: crate::probe::record::next_chain(),
                tree: self.tree,
                gated: self.gated,
                in_front: self.in_front,
            },
            reached: vec![None; self.next_step as usize],
            handlers: self.handlers,
            ends: self.ends,
            end,
            settings: self.stack.first().map(|scope| scope.settings).unwrap_or_default(),
        };
        table.scopes();
        let paths = table.paths()?;
        table.entries(&paths)?;
        table.check_reached()?;
        Ok(table.routes)
    }
}

#[cfg(feature = "step-times")]
fn nodes(tree: &[Node]) -> Vec<usize> {
    let mut nodes = Vec::new();
    for (index, node) in tree.iter().enumerate() {
        if let Some(step) = node.step {
            nodes.resize((step as usize + 1).max(nodes.len()), usize::MAX);
            nodes[step as usize] = index;
        }
    }
    nodes
}

/// The handlers of one pattern, as places in [`Table::handlers`].
struct Path {
    pattern: Pattern,
    handlers: Vec<usize>,
}

struct Table {
    routes: Routes,
    handlers: Vec<Handler>,
    /// Of each step: `None` if no plan names it, else whether a request can get there, and past whom it can't.
    reached: Vec<Option<Result<(), usize>>>,
    /// The ends of all scopes, the outermost first.
    ends: Vec<ScopeEnd>,
    end: u32,
    settings: Settings,
}

impl Table {
    fn plan(
        &mut self,
        steps: &[usize],
        scopes: &[usize],
        outcome: Outcome,
        route: Option<usize>,
    ) -> usize {
        let mut blocker = None;
        for &handler in steps {
            let step = self.handlers[handler].step as usize;
            match (blocker, self.reached[step]) {
                (None, _) => self.reached[step] = Some(Ok(())),
                (Some(by), None) => self.reached[step] = Some(Err(by)),
                _ => {}
            }
            if !self.handlers[handler].passes {
                blocker = blocker.or(Some(handler));
            }
        }
        let mut steps: Vec<u32> =
            steps.iter().map(|&handler| self.handlers[handler].step).collect();
        steps.dedup();
        let (mut stops, hook) = self.end(&outcome, scopes);
        stops.extend(&steps);
        stops.sort_unstable();
        if stops.last() == steps.last() {
            stops.push(self.end);
        }
        let index = self.routes.plans.len();
        let (steps, stops) = (steps.into(), stops.into());
        self.routes.plans.push(Plan { index, steps, stops, outcome, hook, route });
        index
    }

    /// Where a request ends that reaches these scopes and is answered by no handler: the ends that it comes by, of which the last one answers, and the hook
    /// that does so.
    fn end(&self, outcome: &Outcome, scopes: &[usize]) -> (Vec<u32>, Option<usize>) {
        let hook = |hooks: Hooks| match outcome {
            Outcome::Found | Outcome::NotFound => hooks.no_match,
            Outcome::NotAllowed(_) => hooks.not_allowed,
            Outcome::Options(_) | Outcome::BadEncoding => None,
        };
        // A scope with a hook of its own is the last one.
        let own = scopes.iter().position(|&scope| hook(self.ends[scope].own).is_some());
        let scopes = &scopes[..own.map_or(scopes.len(), |at| at + 1)];
        let mut stops: Vec<u32> = scopes.iter().map(|&scope| self.ends[scope].end).collect();
        let mut last = scopes.last().copied().unwrap_or(0);
        // A path that matched ends with its last scope; all else goes outward, to where a hook is in force.
        while matches!(outcome, Outcome::Found | Outcome::NotFound)
            && hook(self.ends[last].hooks).is_none()
            && let Some(outer) = self.ends[last].outer
        {
            last = outer;
        }
        if stops.last() != Some(&self.ends[last].end) {
            stops.push(self.ends[last].end);
        }
        (stops, hook(self.ends[last].hooks))
    }

    /// Where a request ends that no pattern matches: as deep as a scope that has something to say to it.
    fn scopes(&mut self) {
        // Those of one shape are reached one after the other.
        let mut groups: Vec<(Pattern, Vec<usize>)> = Vec::new();
        let mut listening: Vec<usize> =
            (0..self.ends.len()).filter(|&scope| self.ends[scope].listens).collect();
        listening.sort_by_key(|&scope| self.ends[scope].end);
        for scope in listening {
            let prefix = &self.ends[scope].prefix;
            // A prefix that is none is refused with the paths under it.
            let bare = prefix.strip_suffix('/').unwrap_or(prefix);
            let Ok(pattern) = Pattern::parse(if bare.is_empty() { "/" } else { bare }) else {
                continue;
            };
            match groups.iter_mut().find(|(other, _)| other.shape() == pattern.shape()) {
                Some((_, scopes)) => scopes.push(scope),
                None => groups.push((pattern, vec![scope])),
            }
        }
        groups.sort_by_cached_key(|(pattern, _)| {
            (std::cmp::Reverse(pattern.text.split('/').count()), pattern.precedence())
        });
        for (pattern, scopes) in groups {
            let plan = self.plan(&[], &scopes, Outcome::NotFound, None);
            let mut router = matchit::Router::new();
            let bare = pattern.text.strip_suffix('/').unwrap_or(&pattern.text);
            let mut insert = |text: &str| {
                // In a router of their own, patterns that were checked don't conflict.
                let inserted = router.insert(text, ());
                debug_assert!(inserted.is_ok(), "{text}");
            };
            insert(if bare.is_empty() { "/" } else { bare });
            if !pattern.catch_all {
                if !bare.is_empty() {
                    insert(&format!("{bare}/"));
                }
                insert(&format!("{bare}/{{*rest_of_the_path}}"));
            }
            self.routes.scopes.push((router, plan));
        }
        self.routes.not_found = self.plan(&[], &[0], Outcome::NotFound, None);
        self.routes.bad_encoding = self.plan(&[], &[0], Outcome::BadEncoding, None);
    }

    /// Groups the handlers by pattern, in the order of writing.
    fn paths(&self) -> Result<Vec<Path>, BuildError> {
        let mut paths: Vec<Path> = Vec::new();
        let mut by_shape: HashMap<String, usize> = HashMap::new();
        for (index, handler) in self.handlers.iter().enumerate() {
            let Some(text) = &handler.pattern else { continue };
            let strict = handler.settings.strict_slash;
            let trimmed = match text.strip_suffix('/') {
                Some(trimmed) if !strict && !trimmed.is_empty() => trimmed,
                _ if text.is_empty() => "/",
                _ => text,
            };
            let pattern = Pattern::parse(trimmed)
                .map_err(|reason| BuildError::pattern(text, handler.place, reason))?;
            match by_shape.get(&pattern.shape()) {
                Some(&path) if paths[path].pattern.text == pattern.text => {
                    paths[path].handlers.push(index)
                }
                Some(&path) => {
                    let other = &self.handlers[paths[path].handlers[0]];
                    return Err(BuildError::conflict(
                        (&pattern.text, handler.place),
                        (&paths[path].pattern.text, other.place),
                    ));
                }
                None => {
                    by_shape.insert(pattern.shape(), paths.len());
                    paths.push(Path { pattern, handlers: vec![index] });
                }
            }
        }
        Ok(paths)
    }

    fn entries(&mut self, paths: &[Path]) -> Result<(), BuildError> {
        let anywhere: Vec<usize> =
            (0..self.handlers.len()).filter(|&i| self.handlers[i].pattern.is_none()).collect();
        let mut methods: Vec<Method> = Vec::new();
        for (route, path) in paths.iter().enumerate() {
            let twin =
                (!path.pattern.text.ends_with('/')).then(|| format!("{}/", path.pattern.text));
            let first = path.handlers[0];
            let partial = path.pattern.has_partial();
            if partial {
                self.routes.partials.push(matchit::Router::new());
            }
            let router = if partial {
                let last = self.routes.partials.len() - 1;
                &mut self.routes.partials[last]
            } else if path.pattern.catch_all {
                let depth = path.pattern.text.matches('/').count();
                let routers = &mut self.routes.catch_alls;
                routers.resize_with(routers.len().max(depth), matchit::Router::new);
                &mut routers[depth - 1]
            } else {
                &mut self.routes.paths
            };
            if let Err(error) = router.insert(&path.pattern.text, route) {
                // The other slash of an earlier path may stand there; this one says so itself.
                return Err(self.insert_error(error, &path.pattern.text, first, paths));
            }
            let strict = self.handlers[first].settings.strict_slash;
            if let Some(twin) = twin
                && !strict
                && !path.pattern.catch_all
                && !paths.iter().any(|other| other.pattern.text == twin)
            {
                let partials = self.routes.partials.last_mut().filter(|_| partial);
                let router = partials.unwrap_or(&mut self.routes.paths);
                if let Err(error) = router.insert(&twin, route) {
                    return Err(self.insert_error(error, &twin, first, paths));
                }
            }
            let mut handlers = path.handlers.clone();
            handlers.extend(&anywhere);
            handlers.sort_by_key(|&handler| self.handlers[handler].step);
            let settings = self.handlers[first].settings;
            let scopes = self.innermost(&path.handlers);
            let entry = self.entry(&handlers, &scopes, settings, Some(route));
            methods.extend(entry.methods.iter().map(|(method, _)| method.clone()));
            let pattern = MatchedPattern {
                text: path.pattern.text.clone(),
                names: path.pattern.names.clone(),
            };
            self.routes.entries.push(Entry { pattern: Some(Arc::new(pattern)), ..entry });
            self.list(Some(path.pattern.text.clone()), &path.handlers);
        }
        let mut ranked: Vec<usize> = (0..paths.len()).collect();
        ranked.sort_by_cached_key(|&path| paths[path].pattern.precedence());
        for (rank, path) in ranked.into_iter().enumerate() {
            self.routes.entries[path].rank = rank;
        }
        if let Some(&first) = anywhere.first() {
            let settings = self.handlers[first].settings;
            let entry = self.entry(&anywhere, &[0], settings, None);
            methods.extend(entry.methods.iter().map(|(method, _)| method.clone()));
            self.routes.anywhere = Some(entry);
            self.list(None, &anywhere);
        }
        let automatic = !self.settings.no_auto_options;
        let allow = allow(methods.iter(), automatic);
        let outcome = if automatic { Outcome::Options(allow) } else { Outcome::NotFound };
        self.routes.options_star = self.plan(&[], &[0], outcome, None);
        Ok(())
    }

    /// The scopes of some handlers, but for those that hold another one, in the order of their ends.
    fn innermost(&self, handlers: &[usize]) -> Vec<usize> {
        let mut scopes: Vec<usize> =
            handlers.iter().map(|&handler| self.handlers[handler].scope).collect();
        scopes.sort_by_key(|&scope| self.ends[scope].end);
        scopes.dedup();
        let outer = |&scope: &usize| {
            std::iter::successors(self.ends[scope].outer, |&scope| self.ends[scope].outer)
        };
        let holders: Vec<usize> = scopes.iter().flat_map(outer).collect();
        scopes.retain(|scope| !holders.contains(scope));
        scopes
    }

    fn entry(
        &mut self,
        handlers: &[usize],
        scopes: &[usize],
        settings: Settings,
        route: Option<usize>,
    ) -> Entry {
        let of = |table: &Self, wanted: &Method| -> Vec<usize> {
            let answers = |&&handler: &&usize| {
                table.handlers[handler].method.as_ref().is_none_or(|method| method == wanted)
            };
            handlers.iter().filter(answers).copied().collect()
        };
        let mut named: Vec<Method> = Vec::new();
        for &handler in handlers {
            if let Some(method) = &self.handlers[handler].method
                && !named.contains(method)
            {
                named.push(method.clone());
            }
        }
        let automatic = !settings.no_auto_options;
        let mut seen = named.clone();
        if named.contains(&Method::GET) && !named.contains(&Method::HEAD) {
            seen.push(Method::HEAD);
        }
        let allow = allow(seen.iter(), automatic);
        let mut methods = Vec::new();
        for method in seen {
            let mut steps = of(self, &method);
            let all_pass = steps.iter().all(|&handler| self.handlers[handler].passes);
            if method == Method::HEAD && (all_pass || !named.contains(&Method::HEAD)) {
                // Nobody answers HEAD by itself.
                steps.extend(of(self, &Method::GET));
                steps.sort_unstable_by_key(|&handler| self.handlers[handler].step);
                steps.dedup();
            }
            let outcome = match method == Method::OPTIONS && all_pass && automatic {
                true => Outcome::Options(allow.clone()),
                false => Outcome::Found,
            };
            let last = steps.last().map(|&handler| self.handlers[handler].scope);
            let scopes = match (&outcome, &last) {
                // They all passed it on: it ends where the last one stands.
                (Outcome::Found, Some(scope)) => std::slice::from_ref(scope),
                _ => scopes,
            };
            methods.push((method, self.plan(&steps, scopes, outcome, route)));
        }
        let any: Vec<usize> = handlers
            .iter()
            .filter(|&&handler| self.handlers[handler].method.is_none())
            .copied()
            .collect();
        let other = if any.is_empty() {
            if automatic && !named.contains(&Method::OPTIONS) {
                let plan = self.plan(&[], scopes, Outcome::Options(allow.clone()), route);
                methods.push((Method::OPTIONS, plan));
            }
            self.plan(&[], scopes, Outcome::NotAllowed(allow), route)
        } else {
            let last = any.last().map_or(0, |&handler| self.handlers[handler].scope);
            self.plan(&any, &[last], Outcome::Found, route)
        };
        Entry { pattern: None, methods, other, rank: 0 }
    }

    fn list(&mut self, pattern: Option<String>, handlers: &[usize]) {
        let handlers = handlers.iter().map(|&handler| {
            let Handler { method, name, middleware, .. } = &self.handlers[handler];
            RouteHandler {
                method: method.clone(),
                name: name.clone(),
                middleware: middleware.clone(),
            }
        });
        self.routes.listing.push(Route { pattern, handlers: handlers.collect() });
    }

    fn insert_error(
        &self,
        error: matchit::InsertError,
        text: &str,
        handler: usize,
        paths: &[Path],
    ) -> BuildError {
        let place = self.handlers[handler].place;
        if let matchit::InsertError::Conflict { with } = &error {
            let bare = with.strip_suffix('/').unwrap_or(with);
            let other = paths.iter().find(|path| path.pattern.text.trim_end_matches('/') == bare);
            if let Some(other) = other {
                let other_place = self.handlers[other.handlers[0]].place;
                return BuildError::conflict((text, place), (with, other_place));
            }
        }
        BuildError::pattern(text, place, error.to_string())
    }

    /// A handler that no request can reach is a mistake.
    fn check_reached(&self) -> Result<(), BuildError> {
        for (index, handler) in self.handlers.iter().enumerate() {
            let inner_service = handler.step == self.end;
            if let Some(Err(by)) = self.reached[handler.step as usize]
                && !inner_service
                && by != index
                && self.handlers[by].step != handler.step
            {
                let method = handler.method.as_ref().map_or("ALL", Method::as_str);
                let pattern = handler.pattern.as_deref().unwrap_or("(any path)");
                return Err(BuildError::unreachable(
                    (method, pattern, handler.place),
                    (&self.handlers[by].name, self.handlers[by].place),
                ));
            }
        }
        Ok(())
    }
}

/// `Allow` (RFC 9110, 10.2.1): sorted, each method once.
fn allow<'a>(methods: impl Iterator<Item = &'a Method>, options: bool) -> HeaderValue {
    let mut names: Vec<&str> = methods.map(Method::as_str).collect();
    if options {
        names.push("OPTIONS");
    }
    names.sort_unstable();
    names.dedup();
    // A method is a token, so that the list is a header value.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// The last part of the name of a type or function, with the same for its parameters.
pub(crate) fn short_name<T: ?Sized>() -> String {
    let full = std::any::type_name::<T>();
    let mut name = String::new();
    let mut word = String::new();
    for c in full.chars() {
        match c {
            ':' if word.ends_with(':') => word.clear(),
            c if c.is_alphanumeric() || matches!(c, '_' | ':' | '{' | '}' | '#') => word.push(c),
            c => {
                name.push_str(&word);
                word.clear();
                name.push(c);
            }
        }
    }
    name.push_str(&word);
    name.replace("{{closure}}", "closure")
}
