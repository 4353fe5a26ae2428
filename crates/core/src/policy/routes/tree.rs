//! Routes by the segments of their paths, and the way of a reading through
//! them.

use smallvec::SmallVec;

use super::{
    draft::{Draft, RoutePath},
    node::{NO_ROUTE, Node},
    route::{Asked, Route},
};

/// Routes by path, as they are written and with letters' case folded.
#[derive(Debug, Default)]
pub(super) struct Tree {
    written: Node,
    /// `None` where that is the same.
    folded: Option<Node>,
    /// The longest segment, in bytes.
    longest: usize,
    /// Whether templates overlap in more ways than there is room for; then
    /// there is no route in it.
    pub(super) is_overgrown: bool,
}

/// How far a reading has come, with case and without.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place<'t> {
    written: Climb<'t>,
    /// `None` where paths have case.
    folded: Option<Climb<'t>>,
}

/// How far a reading has come in one tree.
#[derive(Clone, Copy, Debug)]
struct Climb<'t> {
    /// `None` once nothing there can change the result.
    node: Option<&'t Node>,
    /// The first route that matches so far.
    best: usize,
}

/// Where in a segment a path ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Behind its name.
    Name,
    /// Behind the slash in front of it.
    Slash,
}

/// What is done with the path in a reading, and with those of routes, before
/// they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Nothing.
    Whole,
    /// A slash at the end is cut off.
    SlashCut,
    /// The case of letters is folded.
    Folded,
    /// Both.
    FoldedSlashCut,
}

/// What is asked, and of which routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'t> {
    pub(super) routes: &'t [Route],
    pub(super) tree: &'t Tree,
    pub(super) asked: Asked<'t>,
}

impl Tree {
    /// A tree of these routes, each with its position and its path. Positions
    /// ascend.
    pub(super) fn new<'r>(routes: impl Iterator<Item = (usize, RoutePath<'r>)>) -> Self {
        let (mut written, mut folded) = (Draft::new(), Draft::new());
        let mut has_capitals = false;
        let mut longest = 0;
        for (position, path) in routes {
            for segment in path.literals() {
                has_capitals |= segment.bytes().any(|byte| byte.is_ascii_uppercase());
                longest = longest.max(segment.len());
            }
            written.insert(&path, position, |segment| segment.as_bytes().into());
            folded.insert(&path, position, |segment| segment.to_ascii_lowercase().into_bytes());
        }
        let grown = || Some((written.grow()?, has_capitals.then(|| folded.grow())));
        match grown() {
            Some((written, None)) => Self { written, longest, ..Self::default() },
            Some((written, Some(Some(folded)))) => {
                Self { written, folded: Some(folded), longest, is_overgrown: false }
            }
            _ => Self { is_overgrown: true, ..Self::default() },
        }
    }

    /// Whether all paths stay the same when the case of letters is folded.
    pub(super) fn is_folded(&self) -> bool {
        self.folded.is_none()
    }
}

impl<'t> Walk<'t> {
    /// Where every reading begins: at the slash that the path begins with.
    pub(super) fn start(&self, anywhere: &[usize], has_case: bool) -> Place<'t> {
        let best = self.first(anywhere, NO_ROUTE);
        let at = |node| self.at(node, best);
        let folded = self.tree.folded.as_ref().unwrap_or(&self.tree.written);
        Place { written: at(&self.tree.written), folded: (!has_case).then(|| at(folded)) }
    }

    /// Hands the routes to `found` that a path leads to which every server
    /// reads alike, but for case and a slash at its end.
    pub(super) fn follow<E>(
        &self,
        start: Place<'t>,
        path: &[u8],
        found: impl FnMut(View, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut place = start;
        let mut rest = path.get(1..).unwrap_or_default();
        loop {
            if rest.is_empty() || place.is_settled() {
                return self.end(place, End::Slash, found);
            }
            // Segments are short, so a plain loop is the fastest.
            let end = rest.iter().position(|byte| *byte == b'/');
            place = self.enter(place, &rest[..end.unwrap_or(rest.len())]);
            match end {
                Some(end) => rest = &rest[end + 1..],
                None => return self.end(place, End::Name, found),
            }
        }
    }

    /// The place one segment further.
    pub(super) fn enter(&self, place: Place<'t>, segment: &[u8]) -> Place<'t> {
        let written = self.climb(place.written, segment);
        let Some(folded) = place.folded else { return Place { written, folded: None } };
        let folded = if !is_folded(segment) {
            let segment = folded.node.and_then(|_| fold(segment, self.tree.longest));
            match segment {
                Some(segment) => self.climb(folded, &segment),
                None => self.climb_any(folded),
            }
        } else if folded == place.written {
            written
        } else {
            self.climb(folded, segment)
        };
        Place { written, folded: Some(folded) }
    }

    /// The place one segment further whose name no route has.
    pub(super) fn enter_any(&self, place: Place<'t>) -> Place<'t> {
        let folded = place.folded.map(|folded| self.climb_any(folded));
        Place { written: self.climb_any(place.written), folded }
    }

    /// Hands the routes to `found` that a path leads to which ends here.
    pub(super) fn end<E>(
        &self,
        place: Place<'t>,
        end: End,
        mut found: impl FnMut(View, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut end_of = |climb: Climb<'t>, whole, cut| {
            let Some(node) = climb.node else { return found(whole, climb.best) };
            let list = match end {
                End::Name => &node.exact,
                End::Slash => &node.exact_with_slash,
            };
            found(whole, self.first(list, climb.best))?;
            if list.len() == node.exact_either.len() {
                return Ok(());
            }
            found(cut, self.first(&node.exact_either, climb.best))
        };
        end_of(place.written, View::Whole, View::SlashCut)?;
        match place.folded.filter(|folded| *folded != place.written) {
            Some(folded) => end_of(folded, View::Folded, View::FoldedSlashCut),
            None => Ok(()),
        }
    }

    /// Hands the routes to `found` that a path leads to which goes on from
    /// here with a segment that no route has.
    pub(super) fn leave<E>(
        place: Place<'t>,
        mut found: impl FnMut(View, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        found(View::Whole, place.written.best)?;
        place.folded.map_or(Ok(()), |folded| found(View::Folded, folded.best))
    }

    /// The route that the path as sent leads to, letter for letter.
    pub(super) fn as_sent(&self, path: &[u8], anywhere: &[usize]) -> usize {
        let mut climb = self.at(&self.tree.written, self.first(anywhere, NO_ROUTE));
        let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
        let mut end = End::Name;
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_none() {
                end = End::Slash;
            } else {
                climb = self.climb(climb, segment);
            }
        }
        let list = climb.node.map(|node| match end {
            End::Name => &node.exact,
            End::Slash => &node.exact_with_slash,
        });
        list.map_or(climb.best, |list| self.first(list, climb.best))
    }

    #[inline]
    fn climb(&self, climb: Climb<'t>, segment: &[u8]) -> Climb<'t> {
        match climb.node.and_then(|node| node.below.get(segment)) {
            Some(below) => self.at(below, climb.best),
            None if segment.is_empty() => climb.settled(),
            None => self.climb_any(climb),
        }
    }

    /// One segment further whose name no route has: a template's `{name}`
    /// matches it.
    #[inline]
    fn climb_any(&self, climb: Climb<'t>) -> Climb<'t> {
        match climb.node.and_then(|node| node.below_any.as_ref()) {
            Some(below) => self.at(below, climb.best),
            None => climb.settled(),
        }
    }

    /// At a node, having come by routes of which `best` is the first.
    #[inline]
    fn at(&self, node: &'t Node, best: usize) -> Climb<'t> {
        let best = self.first(&node.prefix, best);
        Climb { node: Some(node).filter(|node| node.first_of_others < best), best }
    }

    /// The first route in the list that fits, unless `best` comes before it.
    #[inline]
    pub(super) fn first(&self, list: &[usize], best: usize) -> usize {
        if list.is_empty() {
            return best;
        }
        let mut earlier = list.iter().copied().take_while(|at| *at < best);
        let fits = |at: &usize| self.routes.get(*at).is_some_and(|it| it.fits(&self.asked));
        earlier.find(fits).unwrap_or(best)
    }
}

impl<'t> Place<'t> {
    /// Whether a segment goes on from here whatever its name.
    pub(super) fn takes_any(&self) -> bool {
        let takes = |climb: &Climb<'t>| climb.node.is_some_and(|node| node.below_any.is_some());
        takes(&self.written) || self.folded.as_ref().is_some_and(takes)
    }

    /// Whether nothing that may follow can change where this leads.
    pub(super) fn is_settled(&self) -> bool {
        self.written.node.is_none() && self.folded.is_none_or(|folded| folded.node.is_none())
    }
}

impl Climb<'_> {
    /// This, with nothing left that may change the result.
    fn settled(self) -> Self {
        Self { node: None, ..self }
    }
}

impl PartialEq for Climb<'_> {
    fn eq(&self, other: &Self) -> bool {
        let same_node = match (self.node, other.node) {
            (Some(node), Some(other)) => std::ptr::eq(node, other),
            (node, other) => node.is_none() && other.is_none(),
        };
        same_node && self.best == other.best
    }
}

/// Whether folding the case of letters changes nothing.
fn is_folded(segment: &[u8]) -> bool {
    segment.iter().fold(true, |folded, byte| folded & !byte.is_ascii_uppercase() & byte.is_ascii())
}

/// A segment with the case of letters folded, at least as far as any server
/// does: by upper case and then lower case, in which `ſ` becomes `s`, and
/// `İ`, which some take for `I`, `i`. `None` where the result can't be as short
/// as `longest`: no character becomes shorter than a third.
fn fold(segment: &[u8], longest: usize) -> Option<SmallVec<[u8; 64]>> {
    if segment.len() > 3 * longest {
        return None;
    }
    if segment.is_ascii() {
        let mut folded = SmallVec::from_slice(segment);
        folded.make_ascii_lowercase();
        return Some(folded);
    }
    let mut folded = SmallVec::new();
    for chunk in segment.utf8_chunks() {
        for char in chunk.valid().chars() {
            let char = if char == 'İ' { 'i' } else { char };
            for char in char.to_uppercase().flat_map(char::to_lowercase) {
                folded.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        folded.extend_from_slice(chunk.invalid());
    }
    Some(folded)
}
