//! Makes the lookup table of all paths and their plans from the records of the registrar.
//!
//! Runs once, when a chain is built. Numbers of steps are `u32`; handlers, scopes and paths are `usize`, as indexes of
//! `handlers`, `ends` and the list of patterns. `routes.rs` uses the result when a request arrives.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::declare::DeclaredStep;
use crate::route::error::BuildError;
#[cfg(feature = "step-times")]
use crate::route::listing::Node;
use crate::route::listing::{Route, RouteHandler};
use crate::route::pattern::{Pattern, join};
use crate::route::plan::{Handlers, Hooks, Outcome, Plan};
use crate::route::registrar::{Covers, Registered, Registrar, ScopeEnd, Settings};
use crate::route::routes::{MatchedPattern, MethodPlans, Routes};

/// Makes the lookup table after all steps are registered. `end` is the number of the end of the outermost scope.
///
/// The first error of the registrar is returned here.
pub(crate) fn plan_routes(mut registrar: Registrar, end: u32) -> Result<Routes, BuildError> {
    if !registrar.errors.is_empty() {
        return Err(registrar.errors.swap_remove(0));
    }
    let mut table = Planner {
        routes: Routes {
            #[cfg(feature = "step-times")]
            nodes: nodes(&registrar.tree),
            id: next_chain(),
            tree: registrar.tree,
            keeps_original: registrar.has_prefixes,
            in_front: registrar.in_front,
            ..Routes::default()
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

struct Planner {
    routes: Routes,
    handlers: Vec<Registered>,
    /// By the number of a step: `None` if no plan contains the step, `Some(Ok)` if a request can reach it, and
    /// `Some(Err(handler))` if that earlier handler answers every request before it reaches the step.
    reached: Vec<Option<Result<(), usize>>>,
    /// All scopes. The outermost scope is the first.
    ends: Vec<ScopeEnd>,
    /// The number of the end of the outermost scope.
    end: u32,
    settings: Settings,
}

impl Planner {
    /// Adds a plan, and returns its index. `steps` are the handlers that match; `scopes` are those that the request reaches if no
    /// handler answers. The plan's `stops` are sorted, because requests walk the steps in the order of their numbers.
    fn plan(
        &mut self,
        steps: &[usize],
        scopes: &[usize],
        outcome: Outcome,
        route: Option<usize>,
    ) -> usize {
        // The first handler that always answers. No request of this plan reaches the handlers after it.
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
        // The last number must be the end of a scope. Where a handler has the highest one (a handler for any path that
        // is after all matching scopes), the request ends at the end of the chain.
        if stops.last() == steps.last() {
            stops.push(self.end);
        }
        let index = self.routes.plans.len();
        let (handlers, stops) = (Handlers::new(steps), stops.into());
        self.routes.plans.push(Plan { index, handlers, stops, outcome, hook, route });
        index
    }

    /// Returns the scope ends that a request passes if no handler answers it, and the hook that answers at the last of them.
    ///
    /// `scopes` are the innermost scopes of its path, sorted by the number of their end.
    fn end(&self, outcome: &Outcome, scopes: &[usize]) -> (Vec<u32>, Option<usize>) {
        let hook = |hooks: Hooks| match outcome {
            Outcome::Found | Outcome::NotFound => hooks.no_match,
            Outcome::NotAllowed(_) => hooks.not_allowed,
            Outcome::Options(_) | Outcome::BadEncoding => None,
        };
        // The first scope with a hook of its own answers. The request does not enter the scopes after it.
        let own = scopes.iter().position(|&scope| hook(self.ends[scope].own).is_some());
        let scopes = &scopes[..own.map_or(scopes.len(), |at| at + 1)];
        let mut stops: Vec<u32> = scopes.iter().map(|&scope| self.ends[scope].end).collect();
        let mut last = scopes.last().copied().unwrap_or(0);
        // A 405 and an answer to OPTIONS belong to the path: its last scope gives them, inside the middleware of this scope.
        // A 404 continues outward, to the first scope in which a hook is in force, or to the outermost scope.
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

    /// Makes the plans of the requests that no handler matches.
    ///
    /// Such a request belongs to the innermost scope around its path that has an `always` step or a hook of its own. A scope without
    /// them hides no other scope; it only decides which hook of the scope around it is in force.
    fn plan_scopes(&mut self) {
        let mut order: Vec<usize> = (1..self.ends.len()).collect();
        order.sort_by_key(|&scope| self.ends[scope].end);
        let (listening, plain): (Vec<_>, Vec<_>) =
            order.into_iter().partition(|&scope| self.ends[scope].listens);
        // Scopes whose paths have the same shape match the same requests. They share one plan, and a request reaches them in turn.
        let mut groups: Vec<Group> = Vec::new();
        for scope in listening {
            // An invalid path of a scope is skipped here: `enter` has recorded an error for it.
            let Some(path) = self.path_of(scope) else { continue };
            match groups.iter_mut().find(|group| group.path.shape() == path.shape()) {
                Some(group) => group.scopes.push(scope),
                None => groups.push(Group {
                    rank: (path_rank(&path), true, None),
                    path,
                    scopes: vec![scope],
                }),
            }
        }
        for scope in plain.into_iter().filter(|&scope| self.ends[scope].hooks.no_match.is_some()) {
            let Some(path) = self.path_of(scope) else { continue };
            let around = self.around(scope).find(|&outer| self.ends[outer].listens);
            // Comes directly before the scope around it. The outermost scope has the last rank.
            let rank = match around.filter(|&outer| outer > 0) {
                None => (Reverse(0), Vec::new()),
                Some(outer) => match groups.iter().find(|group| group.scopes == [outer]) {
                    Some(group) => group.rank.0.clone(),
                    None => continue,
                },
            };
            let rank = (rank, false, Some(path_rank(&path)));
            groups.push(Group { rank, path, scopes: vec![scope] });
        }
        groups.sort_by(|a, b| a.rank.cmp(&b.rank));
        for Group { path, scopes, .. } in groups {
            let plan = self.plan(&[], &scopes, Outcome::NotFound, None);
            self.routes.scopes.push((subtree(&path, true, ()), plan));
        }
        self.routes.not_found = self.plan(&[], &[0], Outcome::NotFound, None);
        self.routes.bad_encoding = self.plan(&[], &[0], Outcome::BadEncoding, None);
    }

    /// The scopes around a scope, the innermost first.
    fn around(&self, scope: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.ends[scope].outer, |&scope| self.ends[scope].outer)
    }

    /// The pattern of the path of a scope, without a slash at its end. `None` for a group and for an invalid path.
    fn path_of(&self, scope: usize) -> Option<Pattern> {
        let ScopeEnd { prefix, is_group: false, .. } = &self.ends[scope] else { return None };
        let bare = prefix.strip_suffix('/').unwrap_or(prefix);
        Pattern::parse(if bare.is_empty() { "/" } else { bare }).ok()
    }

    /// Groups the handlers by pattern, in the order in which they are written.
    ///
    /// Unless `strict_slash` is set, a slash at the end of a pattern is removed; `entries` adds the other form.
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
                .map_err(|reason| BuildError::pattern(text, handler.declared.location, reason))?;
            match by_shape.get(&pattern.shape()) {
                Some(&path) if paths[path].pattern.text == pattern.text => {
                    paths[path].handlers.push(index)
                }
                Some(&path) => {
                    let other = &self.handlers[paths[path].handlers[0]];
                    return Err(BuildError::Conflict {
                        pattern: pattern.text,
                        location: handler.declared.location,
                        other: paths[path].pattern.text.clone(),
                        other_location: other.declared.location,
                    });
                }
                None => {
                    by_shape.insert(pattern.shape(), paths.len());
                    paths.push(PatternHandlers { pattern, handlers: vec![index] });
                }
            }
        }
        Ok(paths)
    }

    /// Adds each pattern to a router, and makes the plans of its methods.
    fn entries(&mut self, paths: &[PatternHandlers]) -> Result<(), BuildError> {
        // The handlers without a path, which match every path.
        let anywhere: Vec<usize> =
            (0..self.handlers.len()).filter(|&i| self.handlers[i].pattern.is_none()).collect();
        let mut methods: Vec<Method> = Vec::new();
        for (route, path) in paths.iter().enumerate() {
            let first = path.handlers[0];
            let partial = path.pattern.has_partial();
            if partial {
                self.routes.singles.push(matchit::Router::new());
            }
            let router = if partial {
                let last = self.routes.singles.len() - 1;
                &mut self.routes.singles[last]
            } else if path.pattern.catch_all {
                let depth = path.pattern.text.matches('/').count();
                let routers = &mut self.routes.catch_alls;
                routers.resize_with(routers.len().max(depth), matchit::Router::new);
                &mut routers[depth - 1]
            } else {
                &mut self.routes.paths
            };
            for text in self.handlers[first].settings.forms(&path.pattern, paths) {
                if let Err(error) = router.insert(&text, route) {
                    // The conflict may be with the other form of an earlier path. The error names the pattern as it was written.
                    return Err(self.insert_error(error, &text, first, paths));
                }
            }
            let settings = self.handlers[first].settings;
            let scopes = self.innermost(&path.handlers);
            let entry = self.entry(&path.handlers, &anywhere, &scopes, settings, Some(route));
            methods.extend(entry.methods.iter().map(|(method, _)| method.clone()));
            let pattern = MatchedPattern {
                text: path.pattern.text.clone(),
                names: path.pattern.names.clone(),
            };
            self.routes.entries.push(MethodPlans { pattern: Some(Arc::new(pattern)), ..entry });
            self.list(Some(path.pattern.text.clone()), &path.handlers);
        }
        let owned = self.owned_paths(paths);
        let patterns = paths.iter().map(|path| &path.pattern);
        let mut ranked: Vec<(usize, &Pattern)> =
            patterns.chain(owned.iter().map(|(_, whole)| whole)).enumerate().collect();
        ranked.sort_by_cached_key(|(_, pattern)| pattern.precedence());
        for (rank, &(path, _)) in ranked.iter().enumerate() {
            self.routes.entries[path].rank = rank;
        }
        self.check_catch_alls(paths)?;
        self.plan_passes(paths, &owned, &ranked);
        if let Some(&first) = anywhere.first() {
            let settings = self.handlers[first].settings;
            let scopes = self.innermost(&anywhere);
            let entry = self.entry(&[], &anywhere, &scopes, settings, None);
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

    /// Adds an entry without a plan for each scope that has its own `on_no_match`. It keeps the requests under the path of the scope
    /// from broader patterns and from handlers without a path. Returns the paths of the scopes, and their patterns.
    fn owned_paths(&mut self, paths: &[PatternHandlers]) -> Vec<(Pattern, Pattern)> {
        let mut owned: Vec<(Pattern, Pattern)> = Vec::new();
        for scope in 1..self.ends.len() {
            let Some(path) = self.path_of(scope) else { continue };
            let whole = match path.catch_all {
                true => path.text.clone(),
                false => join(&path.text, "/{*rest_of_the_path}"),
            };
            let Ok(whole) = Pattern::parse(&whole) else { continue };
            let same = |other: &Pattern| other.shape() == whole.shape();
            if self.ends[scope].own.no_match.is_none() || owned.iter().any(|(_, other)| same(other))
            {
                continue;
            }
            // A catch-all of the program itself, which doesn't match the path without a rest.
            let has_rest = paths.iter().any(|path| same(&path.pattern));
            let entry = self.routes.entries.len();
            self.routes.singles.push(subtree(&path, !has_rest, entry));
            let alone = Some(subtree(&path, !has_rest, ()));
            self.routes.entries.push(MethodPlans { alone, ..MethodPlans::default() });
            owned.push((path, whole));
        }
        owned
    }

    /// Finds, for each pattern whose handlers may all pass a request on, the broader patterns that may match the same path.
    fn plan_passes(
        &mut self,
        paths: &[PatternHandlers],
        owned: &[(Pattern, Pattern)],
        ranked: &[(usize, &Pattern)],
    ) {
        let passes = |table: &Self, entry: &MethodPlans| {
            let plans = entry.methods.iter().map(|(_, plan)| *plan).chain(entry.other);
            let mut plans = plans.map(|plan| table.routes.plans[plan].handlers.numbers());
            let passes = |step: &u32| {
                table.handlers.iter().any(|handler| handler.step == *step && handler.passes)
            };
            plans.any(|steps| !steps.is_empty() && steps.iter().all(passes))
        };
        for (at, &(path, pattern)) in ranked.iter().enumerate() {
            if !passes(self, &self.routes.entries[path]) {
                continue;
            }
            self.routes.keeps_original = true;
            let broader = ranked[at + 1..].iter().filter(|(path, other)| {
                let scope = path.checked_sub(paths.len()).map(|index| &owned[index].0);
                other.overlaps(pattern) || scope.is_some_and(|scope| scope.overlaps(pattern))
            });
            let broader: Box<[usize]> = broader.map(|&(path, _)| path).collect();
            for &other in broader.iter().filter(|&&other| other < paths.len()) {
                let PatternHandlers { pattern, handlers } = &paths[other];
                let mut router = matchit::Router::new();
                for text in self.handlers[handlers[0]].settings.forms(pattern, paths) {
                    // A pattern in a router of its own has no conflict.
                    let inserted = router.insert(text, ());
                    debug_assert!(inserted.is_ok(), "{pattern:?}");
                }
                self.routes.entries[other].alone = Some(router);
            }
            self.routes.entries[path].broader = broader;
        }
    }

    /// Refuses a handler of a catch-all that passes requests on, if a more specific path is below it. The handler does not run for
    /// that path, which looks as if it did. The same holds for `all` at a path, and a service after it in the same scope.
    fn check_catch_alls(&self, paths: &[PatternHandlers]) -> Result<(), BuildError> {
        for check in
            self.handlers.iter().filter(|handler| handler.passes && handler.method.is_none())
        {
            let Some(pattern) = &check.pattern else { continue };
            // The first pattern of a service is its path with a catch-all.
            let same_path = |handler: &&Registered| {
                let whole = handler.pattern.as_deref().and_then(|whole| whole.rsplit_once("/{*"));
                handler.tunnels
                    && handler.step > check.step
                    && whole.is_some_and(|(path, _)| path == pattern.trim_end_matches('/'))
            };
            if let Some(service) = self.handlers.iter().find(same_path) {
                return Err(BuildError::bypassed(
                    (&check.declared.name, pattern, check.declared.location),
                    (service.pattern.as_deref().unwrap_or_default(), service.declared.location),
                ));
            }
        }
        for (route, path) in paths.iter().enumerate().filter(|(_, path)| path.pattern.catch_all) {
            let passing = path.handlers.iter().map(|&handler| &self.handlers[handler]);
            for handler in passing.filter(|handler| handler.passes) {
                let below = paths.iter().enumerate().filter(|(other, below)| {
                    self.routes.entries[*other].rank < self.routes.entries[route].rank
                        && below.pattern.overlaps(&path.pattern)
                });
                let mut below = below
                    .flat_map(|(_, below)| &below.handlers)
                    .map(|&other| &self.handlers[other]);
                if let Some(below) = below.find(|below| handler.shares_method_with(below)) {
                    return Err(BuildError::bypassed(
                        (&handler.declared.name, &path.pattern.text, handler.declared.location),
                        (below.pattern.as_deref().unwrap_or_default(), below.declared.location),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The scopes of these handlers, sorted by the number of their end. A scope that contains another one of them is left out: a
    /// request that reaches the end of the inner scope is already inside the outer one.
    fn innermost(&self, handlers: &[usize]) -> Vec<usize> {
        let mut scopes: Vec<usize> =
            handlers.iter().map(|&handler| self.handlers[handler].scope).collect();
        scopes.sort_by_key(|&scope| self.ends[scope].end);
        scopes.dedup();
        let holders: Vec<usize> = scopes.iter().flat_map(|&scope| self.around(scope)).collect();
        scopes.retain(|scope| !holders.contains(scope));
        scopes
    }

    /// Makes the plans of one pattern: one for each method, and one for all other methods. `own` are the handlers of the pattern.
    fn entry(
        &mut self,
        own: &[usize],
        anywhere: &[usize],
        scopes: &[usize],
        settings: Settings,
        route: Option<usize>,
    ) -> MethodPlans {
        let mut named: Vec<Method> = Vec::new();
        for &handler in own.iter().chain(anywhere) {
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
            let answers = |handler: &usize, wanted: &Method| {
                self.handlers[*handler].method.as_ref().is_none_or(|method| method == wanted)
            };
            // Of a pattern without a handler for HEAD, those for GET come before handlers for HEAD without a path.
            let of_get = method == Method::HEAD
                && !own.iter().any(|handler| answers(handler, &Method::HEAD))
                && own.iter().any(|handler| answers(handler, &Method::GET));
            let wanted = if of_get { &Method::GET } else { &method };
            let mut steps = self.matching(own, anywhere, Some(wanted));
            let all_pass = self.all_pass(&steps);
            if method == Method::HEAD && (all_pass || !named.contains(&Method::HEAD)) {
                // No HEAD handler is certain to answer, so the GET handlers answer HEAD (RFC 9110, 9.3.2).
                steps.extend(self.matching(own, anywhere, Some(&Method::GET)));
                steps.sort_unstable_by_key(|&handler| self.handlers[handler].step);
                steps.dedup();
            }
            let outcome = match method == Method::OPTIONS && all_pass && automatic {
                true => Outcome::Options(allow.clone()),
                false => Outcome::Found,
            };
            let last = steps.last().map(|&handler| self.handlers[handler].scope);
            let scopes = match (&outcome, &last) {
                // If all handlers pass the request on, it ends in the scope of the last one.
                (Outcome::Found, Some(scope)) => std::slice::from_ref(scope),
                _ => scopes,
            };
            methods.push((method, self.plan(&steps, scopes, outcome, route)));
        }
        let any = self.matching(own, anywhere, None);
        let other = if any.is_empty() {
            if automatic && !named.contains(&Method::OPTIONS) {
                let plan = self.plan(&[], scopes, Outcome::Options(allow.clone()), route);
                methods.push((Method::OPTIONS, plan));
            }
            self.plan(&[], scopes, Outcome::NotAllowed(allow), route)
        } else {
            if !named.contains(&Method::CONNECT) {
                let plan = self.connect(&any, scopes, &named, automatic, route);
                methods.push((Method::CONNECT, plan));
            }
            let last = any.last().map_or(0, |&handler| self.handlers[handler].scope);
            self.plan(&any, &[last], Outcome::Found, route)
        };
        MethodPlans { methods, other: Some(other), ..MethodPlans::default() }
    }

    /// The handlers that answer a method, in the order in which they are written. `None`: a method that no handler names.
    ///
    /// A pattern comes before all broader ones, and handlers without a path are the broadest. So of those, only the ones that
    /// are written before a handler of the pattern take part, if the pattern has one for this method.
    fn matching(&self, own: &[usize], anywhere: &[usize], method: Option<&Method>) -> Vec<usize> {
        let answers = |&handler: &usize| {
            let answered = self.handlers[handler].method.as_ref();
            answered.is_none_or(|answered| Some(answered) == method)
        };
        let mut steps: Vec<usize> = own.iter().copied().filter(answers).collect();
        let last = steps.last().copied().unwrap_or(usize::MAX);
        // Handlers are in the order of their numbers.
        let before = anywhere.iter().copied().filter(|&handler| handler < last);
        steps.extend(before.filter(answers));
        steps.sort_unstable();
        steps
    }

    fn all_pass(&self, handlers: &[usize]) -> bool {
        handlers.iter().all(|&handler| self.handlers[handler].passes)
    }

    /// Makes the plan for CONNECT of handlers for every method. Only services answer it: after a response with status 200, the connection is a
    /// tunnel (RFC 9110, 9.3.6), which a handler for every method does not mean.
    fn connect(
        &mut self,
        any: &[usize],
        scopes: &[usize],
        named: &[Method],
        automatic: bool,
        route: Option<usize>,
    ) -> usize {
        // A handler that passes the request on may be a check in front of the service.
        let takes_part = |&handler: &usize| {
            let Registered { tunnels, passes, .. } = self.handlers[handler];
            tunnels || passes
        };
        let steps: Vec<usize> = any.iter().copied().filter(takes_part).collect();
        if let Some(&last) = steps.iter().rfind(|&&handler| self.handlers[handler].tunnels) {
            let last = self.handlers[last].scope;
            return self.plan(&steps, &[last], Outcome::Found, route);
        }
        let mut methods = COMMON.to_vec();
        methods.extend(named.iter().filter(|method| !COMMON.contains(method)).cloned());
        self.plan(&[], scopes, Outcome::NotAllowed(allow(methods.iter(), automatic)), route)
    }

    /// Adds a route to the list that `ChainService::routes` returns.
    fn list(&mut self, pattern: Option<String>, handlers: &[usize]) {
        let automatic = |&handler: &usize| !self.handlers[handler].settings.no_auto_options;
        let answers_options = handlers.iter().all(automatic);
        let path = pattern.as_deref().map(Pattern::parse);
        let handlers = handlers.iter().map(|&handler| {
            let Registered { method, passes, declared, middleware, .. } = &self.handlers[handler];
            // A step of `use_at` is in front of the handlers under its prefix only.
            let is_in_front = |step: &&Arc<DeclaredStep>| {
                let prefix = step.prefix.as_deref().map(Pattern::parse);
                let (Some(Ok(prefix)), Some(Ok(path))) = (&prefix, &path) else { return true };
                path.reaches(prefix)
            };
            RouteHandler {
                method: method.clone(),
                passes: *passes,
                step: declared.clone(),
                middleware: middleware.iter().filter(is_in_front).cloned().collect(),
            }
        });
        let handlers = handlers.collect();
        self.routes.listing.push(Route { pattern, handlers, answers_options });
    }

    /// Makes the build error of a pattern that `matchit` refuses. A conflict names both patterns and their source locations.
    fn insert_error(
        &self,
        error: matchit::InsertError,
        text: &str,
        handler: usize,
        paths: &[PatternHandlers],
    ) -> BuildError {
        let location = self.handlers[handler].declared.location;
        if let matchit::InsertError::Conflict { with } = &error {
            let bare = with.strip_suffix('/').unwrap_or(with);
            let other = paths.iter().find(|path| path.pattern.text.trim_end_matches('/') == bare);
            if let Some(other) = other {
                let other_location = self.handlers[other.handlers[0]].declared.location;
                let (pattern, other) = (text.to_owned(), with.clone());
                return BuildError::Conflict { pattern, location, other, other_location };
            }
        }
        BuildError::pattern(text, location, error.to_string())
    }

    /// Refuses middleware that covers no handler. It is a mistake that can leave a handler unprotected.
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
                return Err(BuildError::CoversNothing {
                    step: covers.declared.name.clone(),
                    location: covers.declared.location,
                    prefix: covers.prefix.as_ref().map(|prefix| prefix.text.clone()),
                });
            }
        }
        Ok(())
    }

    /// Refuses a handler that no request can reach, because the handler before it always answers.
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
                return Err(BuildError::Unreachable {
                    route: format!("{method} {pattern}"),
                    location: handler.declared.location,
                    other: self.handlers[by].declared.name.clone(),
                    other_location: self.handlers[by].declared.location,
                });
            }
        }
        Ok(())
    }
}

/// The handlers of one pattern, as indexes of [`Planner::handlers`].
struct PatternHandlers {
    pattern: Pattern,
    handlers: Vec<usize>,
}

impl Settings {
    /// The texts of a pattern in a router: unless `strict_slash` is set, also with a slash at its end, if no other pattern has this form.
    fn forms(self, pattern: &Pattern, paths: &[PatternHandlers]) -> impl Iterator<Item = String> {
        let may_have_slash =
            !self.strict_slash && !pattern.catch_all && !pattern.text.ends_with('/');
        let slash = may_have_slash.then(|| format!("{}/", pattern.text));
        let free = |form: &String| !paths.iter().any(|other| other.pattern.text == *form);
        std::iter::once(pattern.text.clone()).chain(slash.filter(free))
    }
}

impl Registered {
    /// Whether both may answer requests of one method.
    fn shares_method_with(&self, other: &Self) -> bool {
        let (Some(one), Some(other)) = (&self.method, &other.method) else { return true };
        let head = |method: &Method| matches!(*method, Method::GET | Method::HEAD);
        one == other || (head(one) && head(other))
    }
}

/// Scopes that a request without a handler may belong to. The group of the least rank whose path is a prefix of the request's decides.
struct Group {
    /// The rank of the scope that listens; whether it is the group's own; otherwise the rank of the path in this scope.
    rank: (PathRank, bool, Option<PathRank>),
    path: Pattern,
    scopes: Vec<usize>,
}

/// More segments come first, then what [`Pattern::precedence`] decides.
type PathRank = (Reverse<usize>, Vec<(u8, String)>);

fn path_rank(path: &Pattern) -> PathRank {
    (Reverse(path.segments().count()), path.precedence())
}

/// A router for a path, and for everything under it if `has_rest` is set.
fn subtree<T: Copy>(path: &Pattern, has_rest: bool, value: T) -> matchit::Router<T> {
    let mut router = matchit::Router::new();
    let bare = path.text.strip_suffix('/').unwrap_or(&path.text);
    let mut insert = |text: &str| {
        // Valid patterns of one path in a router of their own don't conflict.
        let inserted = router.insert(text, value);
        debug_assert!(inserted.is_ok(), "{text}");
    };
    insert(if bare.is_empty() { "/" } else { bare });
    if !path.catch_all {
        if !bare.is_empty() {
            insert(&format!("{bare}/"));
        }
        if has_rest {
            insert(&format!("{bare}/{{*rest_of_the_path}}"));
        }
    }
    router
}

/// The value of `Allow` (RFC 9110, 10.2.1): sorted, each method once.
fn allow<'a>(methods: impl Iterator<Item = &'a Method>, options: bool) -> HeaderValue {
    let mut names: Vec<&str> = methods.map(Method::as_str).collect();
    if options {
        names.push("OPTIONS");
    }
    names.sort_unstable();
    names.dedup();
    // A method is a token, so a list of methods is always a valid header value.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// The methods that a handler for every method is most often for.
const COMMON: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// A number that is unique to this chain. Values of several scopes and the recordings of step times have it.
fn next_chain() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CHAINS: AtomicU32 = AtomicU32::new(0);
    CHAINS.fetch_add(1, Ordering::Relaxed)
}

/// By the number of a step, the index of its line in the tree.
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
