//! Numbers the steps of a chain, and records which of them are handlers for which requests.
//!
//! Runs once, when a chain is built: each step calls the registrar in the order in which the steps are written. Then
//! `planner.rs` makes the lookup table from these records.

use std::any::TypeId;
use std::sync::Arc;

use http::Method;

use crate::declare::{Declaration, DeclaredStep};
use crate::route::error::{BuildError, CallSite};
use crate::route::listing::Node;
use crate::route::pattern::{Pattern, join};
use crate::route::plan::Hooks;
use crate::route::prefix::Prefix;

/// Numbers the steps of a chain in the order in which they are written.
///
/// The end of a scope gets a number too, so the steps of a scope are a range of numbers, and a step covers the numbers from
/// its own to that of the end of its scope.
#[derive(Default)]
pub struct Registrar {
    pub(super) next_step: u32,
    /// The number of path tables so far.
    pub(crate) next_table: u32,
    /// The scopes that are open, the innermost last.
    pub(super) stack: Vec<OpenScope>,
    pub(super) handlers: Vec<Registered>,
    /// All scopes, open or closed, in the order in which they were opened.
    pub(super) ends: Vec<ScopeEnd>,
    pub(super) hook_count: usize,
    pub(super) tree: Vec<Node>,
    pub(super) covers: Vec<Covers>,
    pub(super) errors: Vec<BuildError>,
    /// Whether some middleware has a prefix.
    pub(super) has_prefixes: bool,
    /// Whether the chain is in front of a service, as a layer.
    pub(super) in_front: bool,
    /// The types that the middleware provides, each with the index of its scope in `ends`.
    provided: Vec<(TypeId, usize)>,
}

impl Registrar {
    pub(crate) fn new(settings: Settings) -> Self {
        let outermost = OpenScope { any_path: true, settings, ..OpenScope::default() };
        Self { stack: vec![outermost], ends: vec![ScopeEnd::default()], ..Self::default() }
    }

    /// Opens a scope inside the innermost one, from which it inherits its settings, hooks, allowed findings and tags.
    fn open(&mut self, prefix: String, is_group: bool, settings: Settings) {
        let id = self.ends.len();
        let outer = self.scope();
        let scope = OpenScope {
            id,
            any_path: is_group && outer.any_path,
            settings: settings.or(outer.settings),
            middleware: Vec::new(),
            allowed: outer.allowed.clone(),
            tags: outer.tags.clone(),
        };
        let outer = outer.id;
        let (first, hooks) = (self.next_step, self.ends[outer].hooks);
        let outer = Some(outer);
        self.ends.push(ScopeEnd { prefix, is_group, first, outer, hooks, ..ScopeEnd::default() });
        self.stack.push(scope);
    }

    pub(crate) fn next_step(&self) -> u32 {
        self.next_step
    }

    pub(crate) fn next_table(&mut self) -> u32 {
        self.next_table += 1;
        self.next_table - 1
    }

    /// Takes the next number.
    fn count(&mut self) -> u32 {
        self.next_step += 1;
        self.next_step - 1
    }

    /// The innermost open scope.
    fn scope(&mut self) -> &mut OpenScope {
        // The outermost scope is never removed, so the stack is not empty.
        let last = self.stack.len() - 1;
        &mut self.stack[last]
    }

    /// The end of the innermost open scope.
    fn end(&mut self) -> &mut ScopeEnd {
        let id = self.scope().id;
        &mut self.ends[id]
    }

    /// Adds a line to the tree.
    fn node(&mut self, text: String, step: Option<u32>) {
        let depth = self.stack.len();
        self.tree.push(Node { depth, text, step });
    }

    /// A step of the innermost scope.
    pub(crate) fn step(
        &mut self,
        verb: &'static str,
        name: String,
        location: CallSite,
    ) -> DeclaredStep {
        let (scope, allowed) = (self.end().prefix.clone(), self.scope().allowed.clone());
        let declaration = Declaration::default();
        let (prefix, describe) = (None, None);
        DeclaredStep { verb, name, location, scope, prefix, declaration, describe, allowed }
    }

    /// The declaration of a handler of the innermost scope, with the tags of the scope.
    pub(crate) fn declaration(&mut self) -> Declaration {
        let mut declaration = Declaration::default();
        for tag in &self.scope().tags {
            declaration.tag(*tag);
        }
        declaration
    }

    /// Registers a middleware, and returns its number.
    pub(crate) fn middleware(&mut self, step: DeclaredStep, always: bool) -> u32 {
        self.node(format!("{} {}", step.verb, step.name), Some(self.next_step));
        let declared = Arc::new(step);
        let end = self.end();
        end.listens |= always && !end.is_group;
        let scope = self.scope();
        scope.middleware.push(declared.clone());
        let scope = scope.id;
        let step = self.count();
        if !always {
            self.covers.push(Covers { step, declared, prefix: None, scope });
        }
        step
    }

    /// Registers a middleware for the paths under a prefix, and sets the parsed prefix. Returns its number. An invalid prefix is recorded
    /// as an error.
    pub(crate) fn middleware_at(
        &mut self,
        path: &str,
        mut step: DeclaredStep,
        prefix: &mut Option<Prefix>,
    ) -> u32 {
        self.has_prefixes = true;
        let (depth, location) = (depth(&self.end().prefix), step.location);
        let absolute = self.absolute(path);
        let whole = Pattern::parse(&absolute);
        let parsed = whole.and_then(|whole| Ok((Prefix::new(&whole, depth)?, whole)));
        step.prefix = Some(absolute);
        let number = self.middleware(step, false);
        if let Some(node) = self.tree.last_mut() {
            node.text = node.text.replacen(' ', &format!(" {path} "), 1);
        }
        match (parsed, self.covers.last_mut()) {
            (Ok((parsed, whole)), Some(covers)) => {
                covers.prefix = Some(whole);
                *prefix = Some(parsed);
            }
            (Err(reason), _) => self.fail(BuildError::pattern(path, location, reason)),
            (Ok(_), None) => {}
        }
        number
    }

    /// Records a type that the middleware provides that was registered last.
    pub(crate) fn provides(&mut self, of: TypeId) {
        let scope = self.scope().id;
        self.provided.push((of, scope));
    }

    /// The types that several scopes provide, and the scopes, by the numbers of their first steps and their ends.
    ///
    /// No types if a request never reaches a step outside of a scope that it has entered: no handler passes requests on, and the chain
    /// has no hooks and no service behind it.
    pub(crate) fn shared_types(&self) -> (Vec<TypeId>, Vec<(u32, u32)>) {
        let Self { handlers, provided, ends, .. } = self;
        let is_shared = |(of, scope): &&(TypeId, usize)| {
            *of != TypeId::of::<()>()
                && provided.iter().any(|other| other.0 == *of && other.1 < *scope)
        };
        let leaves = self.in_front || self.hook_count > 0 || handlers.iter().any(|h| h.passes);
        let mut types: Vec<TypeId> =
            provided.iter().filter(is_shared).filter(|_| leaves).map(|(of, _)| *of).collect();
        types.sort_unstable();
        types.dedup();
        (types, ends.iter().map(|scope| (scope.first, scope.end)).collect())
    }

    /// Allows a finding for the steps that follow in the innermost scope.
    pub(crate) fn allow(&mut self, rule: &'static str, reason: &'static str) {
        self.scope().allowed.push((rule, reason));
    }

    /// Adds a tag to the handlers that follow in the innermost scope.
    pub(crate) fn tag(&mut self, tag: &'static str) {
        self.scope().tags.push(tag);
    }

    /// Registers a handler of the innermost scope, and returns its number. `passes`: see [`Registered::passes`].
    pub(crate) fn handler(
        &mut self,
        method: Option<Method>,
        passes: bool,
        step: DeclaredStep,
    ) -> u32 {
        let text = format!("{} {}", method.as_ref().map_or("ALL", Method::as_str), step.name);
        self.node(text, Some(self.next_step));
        let pattern = (!self.scope().any_path).then(|| self.end().prefix.clone());
        self.add(pattern, method, passes, Arc::new(step))
    }

    /// Registers a service that answers a path and everything under it. All its patterns have the same number.
    pub(crate) fn service(&mut self, name: String, location: CallSite) -> u32 {
        self.node(format!("ALL {name}"), Some(self.next_step));
        let prefix = self.end().prefix.clone();
        // The name of the catch-all must differ from the names in the prefix.
        let rest = if prefix.contains("{path}") { "/{*rest_of_path}" } else { "/{*path}" };
        let mut patterns = vec![join(&prefix, rest), prefix.clone()];
        if self.scope().settings.strict_slash {
            patterns.push(join(&prefix, "/"));
        }
        let declared = Arc::new(self.step("service", name, location));
        let step = self.next_step;
        for pattern in patterns {
            self.next_step = step;
            self.add(Some(pattern), None, false, declared.clone());
            self.tunnel();
        }
        step
    }

    /// Adds a handler with the middleware in front of it.
    fn add(
        &mut self,
        pattern: Option<String>,
        method: Option<Method>,
        passes: bool,
        declared: Arc<DeclaredStep>,
    ) -> u32 {
        let step = self.count();
        let middleware =
            self.stack.iter().flat_map(|scope| scope.middleware.iter().cloned()).collect();
        let &mut OpenScope { id: scope, settings, .. } = self.scope();
        self.handlers.push(Registered {
            step,
            pattern,
            method,
            passes,
            tunnels: false,
            declared,
            middleware,
            scope,
            settings,
        });
        step
    }

    /// Lets the handler that was added last, which is a service, answer CONNECT.
    fn tunnel(&mut self) {
        if let Some(last) = self.handlers.last_mut() {
            last.tunnels = true;
        }
    }

    /// Registers a hook, which is in force for the steps after it. Returns its index; a hook has no number, as requests don't
    /// walk through it.
    pub(crate) fn hook(&mut self, verb: &str, name: &str, set: fn(&mut Hooks, usize)) -> usize {
        self.node(format!("{verb} {name}"), None);
        let index = self.hook_count;
        self.hook_count += 1;
        let end = self.end();
        end.listens = !end.is_group;
        set(&mut end.hooks, index);
        set(&mut end.own, index);
        index
    }

    /// Opens the scope of a path. The steps that follow belong to it, until [`leave`](Self::leave).
    ///
    /// An invalid path is recorded as an error here, and `plan_routes` returns it. Later code can
    /// therefore use any default for such a path.
    pub(crate) fn enter(&mut self, path: &str, settings: Settings, location: CallSite) {
        self.node(path.to_owned(), None);
        if let Err(reason) = Pattern::parse(path) {
            self.errors.push(BuildError::pattern(path, location, reason));
        }
        let prefix = self.absolute(path);
        self.open(prefix, false, settings);
    }

    /// Opens a scope that has the path of the scope around it, until [`leave`](Self::leave).
    pub(crate) fn enter_group(&mut self, settings: Settings) {
        self.node("group".to_owned(), None);
        let prefix = self.end().prefix.clone();
        self.open(prefix, true, settings);
    }

    /// Closes the innermost scope.
    pub(crate) fn leave(&mut self) -> ClosedScope {
        let end = self.count();
        let left = self.end();
        left.end = end;
        let closed = ClosedScope { first: left.first, end, depth: depth(&left.prefix) };
        if self.stack.len() > 1 {
            self.stack.pop();
        }
        closed
    }

    /// Closes the outermost scope of a chain in front of a service.
    ///
    /// The service is registered as the last handler, for any path. It gets the number of the end of the scope, where `step/end.rs`
    /// calls it.
    pub(crate) fn end_in_service(&mut self, location: CallSite) -> ClosedScope {
        self.in_front = true;
        let declared = self.step("service", "the inner service".to_owned(), location);
        self.node(declared.name.clone(), Some(self.next_step));
        let step = self.add(None, None, false, Arc::new(declared));
        self.tunnel();
        self.next_step = step;
        self.leave()
    }

    pub(crate) fn fail(&mut self, error: BuildError) {
        self.errors.push(error);
    }

    /// The prefix of the innermost scope, with `path` after it.
    pub(crate) fn absolute(&mut self, path: &str) -> String {
        let prefix = self.end().prefix.clone();
        join(&prefix, path)
    }
}

/// Settings of a chain, which also apply to the chains inside it.
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

/// The values that a scope needs when it is folded. Known when the scope is closed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClosedScope {
    /// The number of the first step in the scope.
    pub(crate) first: u32,
    /// The number of the end of the scope.
    pub(crate) end: u32,
    /// The number of segments of the path of the scope.
    pub(crate) depth: usize,
}

/// A handler, with all that `planner.rs` needs to know of it.
pub(super) struct Registered {
    pub(super) step: u32,
    /// `None`: any path.
    pub(super) pattern: Option<String>,
    pub(super) method: Option<Method>,
    /// Whether the handler may pass the request on. The type of its function decides it: `IntoHandler::PASSES` is true for a
    /// function that takes `Next`. `Entry::register` (`step/added.rs`) passes the constant to [`Registrar::handler`].
    pub(super) passes: bool,
    /// Whether it answers CONNECT if it is registered for every method: a service does.
    pub(super) tunnels: bool,
    pub(super) declared: Arc<DeclaredStep>,
    pub(super) middleware: Vec<Arc<DeclaredStep>>,
    /// The index of its scope in [`Registrar::ends`].
    pub(super) scope: usize,
    pub(super) settings: Settings,
}

/// A middleware that must cover at least one handler after it in its scope. `planner.rs` checks this.
pub(super) struct Covers {
    pub(super) step: u32,
    pub(super) declared: Arc<DeclaredStep>,
    pub(super) prefix: Option<Pattern>,
    /// The index of its scope in [`Registrar::ends`].
    pub(super) scope: usize,
}

/// A scope whose steps are being registered.
#[derive(Default)]
pub(super) struct OpenScope {
    /// Its index in [`Registrar::ends`].
    id: usize,
    /// Whether its handlers answer any path: in the outermost scope, and in the groups of it.
    any_path: bool,
    pub(super) settings: Settings,
    /// The middleware so far.
    middleware: Vec<Arc<DeclaredStep>>,
    /// The findings that are allowed for the steps that follow: the name of the rule, and the reason.
    allowed: Vec<(&'static str, &'static str)>,
    /// The tags of the handlers that follow.
    tags: Vec<&'static str>,
}

/// A scope, with the end that a request reaches if no handler in the scope answers.
#[derive(Default)]
pub(super) struct ScopeEnd {
    pub(super) prefix: String,
    /// Whether it has the path of the scope around it. A request without a handler belongs to that one.
    pub(super) is_group: bool,
    /// The number of its first step.
    pub(super) first: u32,
    /// The number of its end. 0 until the scope is closed.
    pub(super) end: u32,
    /// The index of the scope around it.
    pub(super) outer: Option<usize>,
    /// The hooks that are in force at the end, inherited or its own.
    pub(super) hooks: Hooks,
    /// The hooks that are written in the scope itself.
    pub(super) own: Hooks,
    /// Whether an `always` step or a hook is written in the scope itself. It must run for requests that no handler matches.
    pub(super) listens: bool,
}

/// The number of segments of the path of a scope. 0 for an invalid path, for which [`Registrar::enter`] records an error.
pub(crate) fn depth(path: &str) -> usize {
    Pattern::parse(path).map_or(0, |pattern| pattern.depth())
}
