//! The list of the validators that have stake, in pages, since the state cannot be searched.
//!
//! Whoever is eligible is on it, and others are as long as there is room: a place is worth nothing to who
//! is jailed. A full list still lets in who has more stake than somebody outside the set; else whoever filled it
//! once, with little, would keep everybody out for good.

use types::{Address, List, Millis};

use super::active;
use super::error::Error;
use super::validator::{self, Validator, ValidatorStatus};
use crate::state::{State, key};

/// Validators on a page; its entry stays below 2 KiB.
pub const PAGE: usize = 64;

/// Pages there may be.
pub const PAGES: u8 = 16;

/// Validators there may be on the list.
pub const MAX_VALIDATORS: usize = PAGE * PAGES as usize;

/// A page of the list.
pub type Page = List<Address, PAGE>;

/// All of them, at most [`MAX_VALIDATORS`], in no order that means anything.
pub fn all(state: &State<'_>) -> impl Iterator<Item = Address> {
    (0..PAGES).map_while(|number| read(state, number)).flat_map(Page::into_vec)
}

/// Adds a validator, unless it is there: to the first page with room or, where there is none, in the place of somebody else.
pub(super) fn add(state: &mut State<'_>, validator: &Validator, now: Millis) -> Result<(), Error> {
    let address = validator.address();
    if all(state).any(|other| other == address) {
        return Ok(());
    }
    for number in 0..PAGES {
        let mut page = read(state, number).unwrap_or_default();
        if page.push(address).is_ok() {
            state.write(key::page(number), &page);
            return Ok(());
        }
    }
    displace(state, validator, now)
}

/// Gives a validator the place of the least outside the set: of who is jailed or tombstoned, else of who has less stake. An
/// eligible one is jailed until now, so that its operator can ask for another place. The records of one page only are looked at,
/// since anybody can make others look: of the page that the address chooses, or the next on which somebody is outside the set.
fn displace(state: &mut State<'_>, validator: &Validator, now: Millis) -> Result<(), Error> {
    let address = validator.address();
    let set = active::told(state);
    for number in (0..PAGES).map(|step| (address.0[0] % PAGES + step) % PAGES) {
        let mut page = read(state, number).unwrap_or_default();
        let outside = page.iter().filter(|place| !set.iter().any(|told| told.validator == **place));
        let records = outside.filter_map(|place| validator::read(state, place));
        let eligible = |record: &Validator| record.status == ValidatorStatus::Eligible;
        let Some(mut least) = records.min_by_key(|record| (eligible(record), record.bonded, record.address())) else {
            continue;
        };
        if eligible(&least) {
            if least.bonded >= validator.bonded {
                break;
            }
            least.status = ValidatorStatus::Jailed { until: now };
            validator::write(state, &least);
        }
        for place in page.iter_mut().filter(|place| **place == least.address()) {
            *place = address;
        }
        state.write(key::page(number), &page);
        return Ok(());
    }
    Err(Error::TooManyValidators { bound: MAX_VALIDATORS })
}

/// Removes a validator, if it is there. A page that is left empty stays, so that those after it are found.
pub(super) fn remove(state: &mut State<'_>, validator: &Address) {
    for number in 0..PAGES {
        let Some(mut page) = read(state, number) else { return };
        if page.contains(validator) {
            page.retain(|other| other != validator);
            state.write(key::page(number), &page);
            return;
        }
    }
}

fn read(state: &State<'_>, number: u8) -> Option<Page> {
    state.read(&key::page(number))
}
