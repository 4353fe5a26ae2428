//! Where a path leads in every reading at once.
//!
//! Reading a path once for each would cost as many times as much, so it is read once:
//! readings that have come to the same place are moved together, as the bits
//! of one number, by what each byte means to them. They part only where they
//! see different segments that routes have, and they meet again.

use smallvec::{SmallVec, smallvec};

use super::{
    agreement::{Agreement, NoRoute},
    tree::{End, Place, Walk},
};
use crate::policy::path::{Class, Decoded, Rule, Rules};

/// Readings at one place.
#[derive(Clone, Copy, Debug)]
struct Group<'t> {
    place: Place<'t>,
    /// Whether a template goes on from there whatever the name.
    takes_any: bool,
    who: Who,
    /// Where the name begins that some are within.
    since: usize,
}

/// Which readings stand where in a segment.
#[derive(Clone, Copy, Debug, Default)]
struct Who {
    /// Those in front of the next segment's name.
    in_front: u64,
    /// Those within its name.
    inside: u64,
    /// Those within a name that no route has, because it has (part of) an
    /// escape; a template's `{name}` matches it.
    unnamed: u64,
    /// Those in parameters of a segment without a name.
    in_nameless: u64,
    /// Those in parameters of the segment that leads to the group's place.
    behind_name: u64,
}

/// All readings of one path under way.
pub(super) struct EveryReading<'t, 'r> {
    walk: &'r Walk<'t>,
    decoded: &'r Decoded,
    merged: u64,
    groups: SmallVec<[Group<'t>; 4]>,
    /// Those that have just parted from theirs.
    parted: SmallVec<[Group<'t>; 4]>,
    agreement: &'r mut Agreement<'t>,
}

impl<'t, 'r> EveryReading<'t, 'r> {
    /// Follows `decoded` from `start` on.
    ///
    /// # Errors
    /// Two readings do not agree.
    pub(super) fn follow(
        walk: &'r Walk<'t>,
        start: Place<'t>,
        rules: &Rules,
        decoded: &'r Decoded,
        agreement: &'r mut Agreement<'t>,
    ) -> Result<(), NoRoute> {
        let who = Who { in_front: rules.all, ..Who::default() };
        let groups = smallvec![Group::at(start, who)];
        let parted = SmallVec::new();
        let mut all = Self { walk, decoded, merged: rules.merged, groups, parted, agreement };
        let classes = decoded.classes();
        // All begin with a slash, behind which they stand.
        let mut at = 1;
        while let Some(&class) = classes.get(at) {
            let rule = rules.of(class);
            let is_run = classes.get(at + 1) == Some(&class);
            if is_run && all.groups.iter().all(|group| group.who.stay(rule, rules.merged)) {
                at += run(&classes[at..], class);
                continue;
            }
            if let [group] = &mut all.groups[..] {
                let bytes = group.go_together(&classes[at..], rules);
                at += bytes;
                if bytes > 0 {
                    continue;
                }
            } else if all.groups.iter().all(|group| group.stay_together(rule, rules.merged)) {
                for group in &mut all.groups {
                    group.who = group.behind(rule, rules.merged);
                }
                at += 1;
                continue;
            }
            all.step(at, rule)?;
            at += 1;
            if all.groups.is_empty() {
                return Ok(());
            }
        }
        all.end()
    }

    /// One byte further.
    fn step(&mut self, at: usize, rule: &Rule) -> Result<(), NoRoute> {
        let mut lost = false;
        for index in 0..self.groups.len() {
            let group = &mut self.groups[index];
            let who = group.who;
            let ends = rule.separates | rule.begins_parameters;
            let leave = group.leave(rule, self.merged);
            let (enter, enter_any) = (who.inside & ends, who.unnamed & ends);
            let before = (leave | enter | enter_any != 0).then_some(*group);
            group.who = group.behind(rule, self.merged);
            let names = who.in_front & rule.names;
            if names != 0 && group.who.inside == 0 {
                (group.who.inside, group.since) = (names, at);
            } else if names != 0 {
                let who = Who { inside: names, ..Who::default() };
                self.parted.push(Group { who, since: at, ..*group });
            }
            lost |= group.who.is_empty();
            let Some(before) = before else { continue };
            if leave != 0 {
                Walk::leave(before.place, |_, position| self.agreement.add(position))?;
            }
            if enter != 0 {
                let since = before.since.min(at);
                let place = self.walk.enter(before.place, &self.decoded.bytes()[since..at]);
                self.go_on(place, enter, rule)?;
            }
            if enter_any != 0 {
                self.go_on(self.walk.enter_any(before.place), enter_any, rule)?;
            }
        }
        // Not before all have moved, so that none moves twice.
        while let Some(group) = self.parted.pop() {
            self.meet(group);
        }
        if lost {
            self.groups.retain(|group| !group.who.is_empty());
        }
        Ok(())
    }

    /// Adds a group to one that it can go on with, if there is one.
    fn meet(&mut self, group: Group<'t>) {
        match self.groups.iter_mut().find(|there| there.can_go_on_with(&group)) {
            Some(there) => there.take_in(&group),
            None => self.groups.push(group),
        }
    }

    /// Moves these readings, for which a name ends here that led to `place`.
    fn go_on(&mut self, place: Place<'t>, these: u64, rule: &Rule) -> Result<(), NoRoute> {
        if place.is_settled() {
            return Walk::leave(place, |_, position| self.agreement.add(position));
        }
        let who = Who {
            in_front: these & rule.separates,
            behind_name: these & rule.begins_parameters,
            ..Who::default()
        };
        self.parted.push(Group::at(place, who));
        Ok(())
    }

    fn end(self) -> Result<(), NoRoute> {
        let bytes = self.decoded.bytes();
        let agreement = self.agreement;
        for group in &self.groups {
            let mut end = |place, end| self.walk.end(place, end, |_, at| agreement.add(at));
            if group.who.in_front | group.who.in_nameless != 0 {
                end(group.place, End::Slash)?;
            }
            if group.who.behind_name != 0 {
                end(group.place, End::Name)?;
            }
            if group.who.inside != 0 {
                let since = group.since.min(bytes.len());
                end(self.walk.enter(group.place, &bytes[since..]), End::Name)?;
            }
            if group.who.unnamed != 0 {
                end(self.walk.enter_any(group.place), End::Name)?;
            }
        }
        Ok(())
    }
}

impl<'t> Group<'t> {
    /// These at this place, none of them within a name.
    fn at(place: Place<'t>, who: Who) -> Self {
        Self { place, takes_any: place.takes_any(), who, since: 0 }
    }

    fn can_go_on_with(&self, other: &Self) -> bool {
        let names = self.who.inside == 0 || other.who.inside == 0 || self.since == other.since;
        names && self.place == other.place
    }

    fn take_in(&mut self, other: &Self) {
        if other.who.inside != 0 {
            self.since = other.since;
        }
        self.who.in_front |= other.who.in_front;
        self.who.inside |= other.who.inside;
        self.who.unnamed |= other.who.unnamed;
        self.who.in_nameless |= other.who.in_nameless;
        self.who.behind_name |= other.who.behind_name;
    }
}

impl Group<'_> {
    /// Whether a byte begins and ends no name that routes have for any of them.
    fn stay_together(&self, rule: &Rule, merged: u64) -> bool {
        let Who { in_front, inside, unnamed, .. } = self.who;
        let part = in_front & rule.names
            | (inside | unnamed) & (rule.separates | rule.begins_parameters)
            | self.leave(rule, merged);
        part == 0
    }

    /// Moves them behind all bytes before the first that begins or ends a name
    /// for any of them; says how many those are.
    fn go_together(&mut self, classes: &[Class], rules: &Rules) -> usize {
        let mut bytes = 0;
        for class in classes {
            let rule = rules.of(*class);
            if !self.stay_together(rule, rules.merged) {
                break;
            }
            self.who = self.behind(rule, rules.merged);
            bytes += 1;
        }
        bytes
    }

    /// Where they stand behind a byte, those aside for which it begins or ends
    /// a name.
    fn behind(&self, rule: &Rule, merged: u64) -> Who {
        let who = self.who;
        let unnamed = if self.takes_any { who.unnamed_by(rule) } else { 0 };
        Who {
            in_front: who.end_nameless(rule) & merged | who.behind_name & rule.ends_parameters,
            inside: who.inside & rule.names,
            unnamed: who.unnamed & !(rule.separates | rule.begins_parameters) | unnamed,
            in_nameless: who.in_nameless & !rule.ends_parameters
                | who.in_front & rule.begins_parameters,
            behind_name: who.behind_name & !rule.ends_parameters,
        }
    }

    /// Those which no route beyond this place matches behind a byte: none has
    /// an empty segment, and only a template's `{name}` one with (part of) an
    /// escape.
    fn leave(&self, rule: &Rule, merged: u64) -> u64 {
        let unnamed = if self.takes_any { 0 } else { self.who.unnamed_by(rule) };
        self.who.end_nameless(rule) & !merged | unnamed
    }
}

impl Who {
    fn is_empty(self) -> bool {
        self.in_front | self.inside | self.unnamed | self.in_nameless | self.behind_name == 0
    }

    /// Whether a byte changes nothing for them.
    fn stay(self, rule: &Rule, merged: u64) -> bool {
        let moved = self.in_front & !(rule.separates & merged)
            | self.inside & !rule.names
            | self.unnamed & (rule.separates | rule.begins_parameters)
            | (self.in_nameless | self.behind_name) & rule.ends_parameters;
        moved == 0
    }

    /// Those for which a segment without a name ends with a byte.
    fn end_nameless(self, rule: &Rule) -> u64 {
        self.in_front & rule.separates | self.in_nameless & rule.ends_parameters
    }

    /// Those that see (part of) an escape in a byte where they look for a name.
    fn unnamed_by(self, rule: &Rule) -> u64 {
        (self.in_front | self.inside) & !(rule.separates | rule.names | rule.begins_parameters)
    }
}

/// How many bytes of this class come first.
fn run(classes: &[Class], class: Class) -> usize {
    let mut rest = classes;
    // Sixteen at a time are compared at once.
    while let Some((chunk, tail)) = rest.split_first_chunk::<16>() {
        if chunk.iter().fold(false, |differs, other| differs | (*other != class)) {
            break;
        }
        rest = tail;
    }
    classes.len() - rest.len() + rest.iter().take_while(|other| **other == class).count()
}
