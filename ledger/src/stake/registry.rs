//! The list of all validators that have stake, in pages, since the state cannot be searched.

use types::{Address, List};

use super::error::Error;
use crate::state::{State, key};

/// Validators on a page; its entry stays below 2 KiB.
pub const PAGE: usize = 64;

/// Pages there may be.
pub const PAGES: u8 = 16;

/// Validators with stake there may be.
pub const MAX_VALIDATORS: usize = PAGE * PAGES as usize;

/// A page of the list.
pub type Page = List<Address, PAGE>;

/// All of them, at most [`MAX_VALIDATORS`], in no order that means anything.
#[must_use]
pub fn all(state: &State<'_>) -> Vec<Address> {
    (0..PAGES).map_while(|number| read(state, number)).flat_map(Page::into_vec).collect()
}

/// Adds a validator, to the first page with room.
pub(super) fn add(state: &mut State<'_>, validator: &Address) -> Result<(), Error> {
    for number in 0..PAGES {
        let mut page = read(state, number).unwrap_or_default();
        if page.push(*validator).is_ok() {
            state.write(key::page(number), &page);
            return Ok(());
        }
    }
    Err(Error::TooManyValidators { bound: MAX_VALIDATORS })
}

/// Removes a validator. A page that is left empty stays, so that those after it are found.
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
