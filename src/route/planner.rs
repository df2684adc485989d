//! Makes the lookup table of all paths and the plan of each, from what the registrar recorded.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::route::error::BuildError;
#[cfg(feature = "step-times")]
use crate::route::listing::Node;
use crate::route::listing::{Route, RouteHandler};
use crate::route::pattern::Pattern;
use crate::route::plan::{Hooks, Outcome, Plan};
use crate::route::registrar::{Covers, Registered, Registrar, ScopeEnd, Settings};
use crate::route::routes::{MatchedPattern, MethodPlans, Routes};

/// A number that no other chain has.
#[cfg(feature = "step-times")]
fn next_chain() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CHAINS: AtomicU32 = AtomicU32::new(0);
    CHAINS.fetch_add(1, Ordering::Relaxed)
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

/// Makes the table of all paths, once all steps are counted and the outermost scope was left with `end`.
pub(crate) fn plan_routes(mut registrar: Registrar, end: u32) -> Result<Routes, BuildError> {
    if !registrar.errors.is_empty() {
        return Err(registrar.errors.swap_remove(0));
    }
    let mut table = Planner {
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
            listing: Vec::new(),
            #[cfg(feature = "step-times")]
            nodes: nodes(&registrar.tree),
            #[cfg(feature = "step-times")]
            id: next_chain(),
            tree: registrar.tree,
            gated: registrar.gated,
            in_front: registrar.in_front,
        },
        reached: vec![None; registrar.next_step as usize],
        handlers: registrar.handlers,
        ends: registrar.ends,
        end,
        settings: registrar.stack.first().map(|scope| scope.settings).unwrap_or_default(),
    };
    table.plan_scopes();
    let paths = table.paths()?;
    table.check_covers(&registrar.covers)?;
    table.entries(&paths)?;
    table.check_reached()?;
    Ok(table.routes)
}

/// The handlers of one pattern, as places in [`Planner::handlers`].
struct PatternHandlers {
    pattern: Pattern,
    handlers: Vec<usize>,
}

struct Planner {
    routes: Routes,
    handlers: Vec<Registered>,
    /// Of each step: `None` if no plan names it, else whether a request can get there, and past whom it can't.
    reached: Vec<Option<Result<(), usize>>>,
    /// The ends of all scopes, the outermost first.
    ends: Vec<ScopeEnd>,
    end: u32,
    settings: Settings,
}

impl Planner {
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
        let (handlers, stops) = (steps.into(), stops.into());
        self.routes.plans.push(Plan { index, handlers, stops, outcome, hook, route });
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
    fn plan_scopes(&mut self) {
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
    fn paths(&self) -> Result<Vec<PatternHandlers>, BuildError> {
        let mut paths: Vec<PatternHandlers> = Vec::new();
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
                .map_err(|reason| BuildError::pattern(text, handler.location, reason))?;
            match by_shape.get(&pattern.shape()) {
                Some(&path) if paths[path].pattern.text == pattern.text => {
                    paths[path].handlers.push(index)
                }
                Some(&path) => {
                    let other = &self.handlers[paths[path].handlers[0]];
                    return Err(BuildError::conflict(
                        (&pattern.text, handler.location),
                        (&paths[path].pattern.text, other.location),
                    ));
                }
                None => {
                    by_shape.insert(pattern.shape(), paths.len());
                    paths.push(PatternHandlers { pattern, handlers: vec![index] });
                }
            }
        }
        Ok(paths)
    }

    fn entries(&mut self, paths: &[PatternHandlers]) -> Result<(), BuildError> {
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
            self.routes.entries.push(MethodPlans { pattern: Some(Arc::new(pattern)), ..entry });
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
    ) -> MethodPlans {
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
        MethodPlans { pattern: None, methods, other, rank: 0 }
    }

    fn list(&mut self, pattern: Option<String>, handlers: &[usize]) {
        let handlers = handlers.iter().map(|&handler| {
            let Registered { method, name, middleware, .. } = &self.handlers[handler];
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
        paths: &[PatternHandlers],
    ) -> BuildError {
        let location = self.handlers[handler].location;
        if let matchit::InsertError::Conflict { with } = &error {
            let bare = with.strip_suffix('/').unwrap_or(with);
            let other = paths.iter().find(|path| path.pattern.text.trim_end_matches('/') == bare);
            if let Some(other) = other {
                let other_location = self.handlers[other.handlers[0]].location;
                return BuildError::conflict((text, location), (with, other_location));
            }
        }
        BuildError::pattern(text, location, error.to_string())
    }

    /// Middleware that covers no handler is a mistake: what it was to protect is open.
    fn check_covers(&self, covers: &[Covers]) -> Result<(), BuildError> {
        for covers in covers {
            let covered = |handler: &Registered| {
                let pattern = handler.pattern.as_deref().map(Pattern::parse);
                covers.step < handler.step
                    && handler.step <= self.ends[covers.scope].end
                    && match (&covers.prefix, pattern) {
                        (Some(prefix), Some(Ok(pattern))) => pattern.reaches(prefix),
                        _ => true,
                    }
            };
            if !self.handlers.iter().any(covered) {
                let prefix = covers.prefix.as_ref().map(|prefix| &*prefix.text);
                return Err(BuildError::covers_nothing(&covers.name, covers.location, prefix));
            }
        }
        Ok(())
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
                    (method, pattern, handler.location),
                    (&self.handlers[by].name, self.handlers[by].location),
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
