//! The rules of sharing, one by one, and whatever order of events: never more than the limit, and nobody who may
//! have a place is left waiting.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use proptest::prelude::*;

use super::*;
use Purpose::{Fresh, Pool};

/// Places, with everything that was taken and everybody who waits.
#[derive(Default)]
struct Scene {
    places: Arc<Places>,
    taken: Vec<Place>,
    waiting: Vec<(HolderId, Purpose, BoxFuture<'static, Option<Place>>)>,
}

impl Scene {
    fn join(&self, limit: usize) -> HolderId {
        self.places.join(limit, Standing::Member)
    }

    /// Asks for a place, and reports whether there was one at once.
    fn take(&mut self, holder: HolderId, purpose: Purpose) -> bool {
        let places = Arc::clone(&self.places);
        let wait = async move { places.take(holder, purpose).await };
        let mut wait = wait.boxed();
        match (&mut wait).now_or_never() {
            Some(place) => self.taken.extend(place),
            None => {
                self.waiting.push((holder, purpose, wait));
                return false;
            }
        }
        true
    }

    /// Drops the place of a holder.
    fn give_back(&mut self, holder: HolderId) {
        let place = self.taken.iter().position(|place| place.holder == holder);
        drop(place.map(|place| self.taken.remove(place)));
        self.settle();
    }

    /// Takes the places that those who wait were given.
    fn settle(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|(_, _, wait)| match wait.now_or_never() {
            Some(place) => {
                self.taken.extend(place);
                false
            }
            None => true,
        });
        self.waiting = waiting;
    }

    fn holders(&self) -> Vec<HolderId> {
        self.taken.iter().map(|place| place.holder).collect()
    }
}

#[test]
fn alone_a_target_has_two_for_its_pool_and_one_for_a_fresh_connect() {
    let mut scene = Scene::default();
    let a = scene.join(3);
    assert_eq!(
        [Pool, Pool, Pool, Fresh, Fresh].map(|p| scene.take(a, p)),
        [true, true, false, true, false]
    );
    assert!(scene.places.may_keep(a));
}

#[test]
fn two_keep_one_each_and_a_hundred_let_only_the_leader_keep_one() {
    let mut scene = Scene::default();
    let (a, b) = (scene.join(3), scene.join(3));
    assert_eq!(
        [(a, Pool), (a, Pool), (b, Pool), (b, Fresh), (a, Fresh)].map(|(h, p)| scene.take(h, p)),
        [true, false, true, true, false]
    );
    assert!(scene.places.may_keep(a) && scene.places.may_keep(b));
    let c = scene.join(3);
    scene.places.set_leads(b, true);
    assert_eq!([a, b, c].map(|holder| scene.places.may_keep(holder)), [false, true, false]);
    scene.places.end(c);
    assert!(scene.places.may_keep(a), "it is roomy again");
}

#[test]
fn a_target_that_hangs_leaves_the_others_a_way() {
    let mut scene = Scene::default();
    let (a, b) = (scene.join(3), scene.join(3));
    scene.places.set_leads(a, true);
    assert!(scene.take(a, Pool) && scene.take(a, Fresh));
    assert!(!scene.take(b, Fresh), "the only place for fresh connects is taken");
    scene.places.abandon(a, 1);
    scene.settle();
    assert_eq!(scene.holders(), [a, a, b], "what b would keep is free for its visit");
    scene.give_back(b);
    assert!(scene.take(b, Fresh) && !scene.take(a, Fresh));
}

#[test]
fn the_one_that_waits_longest_is_next_and_who_has_its_share_holds_nobody_up() {
    let mut scene = Scene::default();
    let all: Vec<HolderId> = (0..5).map(|_| scene.join(3)).collect();
    assert!(scene.take(all[0], Fresh) && scene.take(all[1], Fresh));
    for holder in [0, 2, 3, 4] {
        assert!(!scene.take(all[holder], Fresh));
    }
    scene.give_back(all[1]);
    assert_eq!(scene.holders(), [all[0], all[2]], "not the second of the first");
    scene.give_back(all[2]);
    assert_eq!(scene.holders(), [all[0], all[3]]);
}

#[test]
fn the_smallest_limit_counts_and_outlives_who_set_it() {
    let mut scene = Scene::default();
    let (a, b) = (scene.join(5), scene.join(2));
    assert!(scene.take(a, Fresh) && scene.take(b, Fresh));
    assert_eq!(scene.places.state().limit(), 2);
    scene.places.end(b);
    assert_eq!(scene.places.state().limit(), 5);
    scene.places.end(a);
    assert_eq!(scene.places.state().limit(), 5, "while their connections remain");
}

#[test]
fn a_guest_opens_one_connection_and_changes_nothing_for_the_members() {
    let mut scene = Scene::default();
    let a = scene.join(3);
    let guest = scene.places.join(3, Standing::Guest);
    assert!(scene.places.may_keep(a) && !scene.places.may_keep(guest));
    assert!(scene.take(a, Pool) && scene.take(guest, Fresh) && !scene.take(guest, Fresh));
    let other = scene.places.join(3, Standing::Guest);
    assert!(!scene.take(other, Fresh), "they come one after the other");
    assert!(scene.take(a, Fresh), "the member's fresh connect does not wait for a guest");
    scene.places.end(guest);
    scene.give_back(guest);
    assert_eq!(scene.holders(), [a, a, other]);
}

#[test]
fn the_last_place_is_for_the_fresh_connect_of_the_only_member() {
    let mut scene = Scene::default();
    let a = scene.join(3);
    let guest = scene.places.join(3, Standing::Guest);
    assert!(scene.take(a, Pool) && scene.take(a, Pool));
    assert!(!scene.take(guest, Fresh) && scene.take(a, Fresh));
    scene.give_back(a);
    assert_eq!(scene.holders(), [a, a, guest]);
}

#[test]
fn the_first_target_answers_for_what_former_ones_gave_up() {
    let scene = Scene::default();
    let (a, b) = (scene.join(3), scene.join(3));
    scene.places.abandon(a, 1);
    assert_eq!([a, b].map(|holder| scene.places.abandoned(holder)), [1, 0]);
    scene.places.end(a);
    assert_eq!(scene.places.abandoned(b), 1);
    scene.places.abandon(a, -1);
    assert_eq!(scene.places.abandoned(b), 0);
}

/// An event. The numbers choose among the holders, places or waiters that there are.
#[derive(Clone, Debug)]
enum Event {
    Join(usize, bool),
    End(usize),
    Lead(usize),
    Take(usize, bool),
    GiveBack(usize),
    GiveUp(usize),
    Abandon(usize),
    Return(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let number = 0_usize..100;
    prop_oneof![
        2 => (2_usize..6, any::<bool>()).prop_map(|(limit, guest)| Event::Join(limit, guest)),
        1 => number.clone().prop_map(Event::End),
        1 => number.clone().prop_map(Event::Lead),
        6 => (number.clone(), any::<bool>()).prop_map(|(n, pool)| Event::Take(n, pool)),
        4 => number.clone().prop_map(Event::GiveBack),
        2 => number.clone().prop_map(Event::GiveUp),
        1 => number.clone().prop_map(Event::Abandon),
        1 => number.prop_map(Event::Return),
    ]
}

/// A place by a number; `None` in an empty list.
fn pick<T>(all: &[T], n: usize) -> Option<usize> {
    (!all.is_empty()).then(|| n % all.len())
}

fn play(scene: &mut Scene, live: &mut Vec<HolderId>, gone: &mut Vec<HolderId>, event: Event) {
    let places = Arc::clone(&scene.places);
    match event {
        Event::Join(limit, true) if live.len() > 1 => {
            live.push(places.join(limit, Standing::Guest));
        }
        Event::Join(limit, _) => live.push(places.join(limit, Standing::Member)),
        Event::End(n) => {
            if let Some(n) = pick(live, n) {
                places.end(live.swap_remove(n));
            }
        }
        Event::Lead(n) => {
            if let Some(n) = pick(live, n) {
                live.iter().for_each(|holder| places.set_leads(*holder, false));
                places.set_leads(live[n], true);
            }
        }
        Event::Take(n, pool) => {
            if let Some(n) = pick(live, n) {
                scene.take(live[n], if pool { Pool } else { Fresh });
            }
        }
        Event::GiveBack(n) => drop(pick(&scene.taken, n).map(|n| scene.taken.swap_remove(n))),
        Event::GiveUp(n) => drop(pick(&scene.waiting, n).map(|n| scene.waiting.swap_remove(n))),
        Event::Abandon(n) => {
            if let Some(n) = pick(&scene.taken, n) {
                places.abandon(scene.taken[n].holder, 1);
                gone.push(scene.taken[n].holder);
            }
        }
        Event::Return(n) => {
            if let Some(n) = pick(gone, n) {
                places.abandon(gone.swap_remove(n), -1);
            }
        }
    }
    scene.settle();
}

/// What must hold after each event. `before`: the number of places that were taken before it.
fn check(scene: &Scene, before: usize) {
    let state = scene.places.state();
    let limit = state.limit();
    let used = state.used.all();
    assert_eq!(used, scene.taken.len(), "every place is counted once");
    assert!(used <= limit || used <= before, "{used} of {limit}, and before {before}");
    let mut held: BTreeMap<HolderId, usize> = BTreeMap::new();
    scene.taken.iter().for_each(|place| *held.entry(place.holder).or_default() += 1);
    for (id, holder) in &state.holders {
        assert_eq!(holder.held.all(), held.remove(id).unwrap_or(0));
    }
    assert!(held.is_empty(), "whoever holds a place is known");
    for (holder, purpose, _) in &scene.waiting {
        assert!(!state.may_take(*holder, *purpose), "{holder} waits for nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_limit_holds_and_nobody_waits_for_nothing(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut scene = Scene::default();
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for event in events {
            let before = scene.taken.len();
            play(&mut scene, &mut live, &mut gone, event);
            check(&scene, before);
        }
        live.into_iter().for_each(|holder| scene.places.end(holder));
        gone.into_iter().for_each(|holder| scene.places.abandon(holder, -1));
        scene.waiting.clear();
        scene.taken.clear();
        prop_assert!(!scene.places.is_in_use(), "nothing is left");
        prop_assert_eq!(scene.places.state().used, Held::default());
    }
}
