//! Merging of a profile's defaults into a user's settings.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::profile::Places;

/// Fills in the settings that `table` omits with those in `defaults`. Tables are merged; a list or a value
/// comes from one of the two as a whole.
///
/// A default is not in the user's text, so its position is `origin`, the line that names the profile. An
/// invalid setting is not replaced with its default, because the user meant to set it.
pub(super) fn under<'text>(
    table: &mut DeTable<'text>,
    defaults: DeTable<'text>,
    origin: &Range<usize>,
    places: &mut Places,
) {
    merge(table, defaults, origin, "", places);
}

fn merge<'text>(
    table: &mut DeTable<'text>,
    defaults: DeTable<'text>,
    origin: &Range<usize>,
    path: &str,
    places: &mut Places,
) {
    for (key, default) in defaults {
        let path =
            if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
        if places.is_broken(&path) {
            continue;
        }
        let default = default.into_inner();
        match (table.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), default) {
            (Some(DeValue::Table(there)), DeValue::Table(below)) => {
                merge(there, below, origin, &path, places);
            }
            (Some(_), _) => {}
            (None, DeValue::Table(below)) => {
                let mut there = DeTable::new();
                merge(&mut there, below, origin, &path, places);
                insert(table, key.into_inner(), DeValue::Table(there), origin);
            }
            (None, value) => {
                places.insert(&path, origin.clone());
                insert(table, key.into_inner(), value, origin);
            }
        }
    }
}

fn insert<'text>(
    table: &mut DeTable<'text>,
    key: Cow<'text, str>,
    value: DeValue<'text>,
    origin: &Range<usize>,
) {
    table.insert(Spanned::new(origin.clone(), key), Spanned::new(origin.clone(), value));
}
