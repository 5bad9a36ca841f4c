//! Names of users and groups become the fixed numbers that overlays reserve.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::overlay::{Overlay, User};

/// Users of the chosen overlays by name, with root.
pub(super) struct Owners {
    users: BTreeMap<String, User>,
}

impl Owners {
    /// # Errors
    ///
    /// [`Kind::Input`] if two overlays give one name two ids, or two names one id.
    pub(super) fn of(overlays: &[&Overlay]) -> Result<Self> {
        let mut users: BTreeMap<String, User> = BTreeMap::new();
        for (overlay, user) in overlays.iter().flat_map(|overlay| overlay.manifest.users.iter().map(move |user| (overlay, user))) {
            let clash = users.values().find(|other| (other.name == user.name || other.id == user.id) && *other != user);
            if let Some(other) = clash {
                let (name, id) = (&user.name, user.id);
                let message =
                    format!("overlay `{}` declares user `{name}` ({id}), and `{}` ({}) differs", overlay.name, other.name, other.id);
                return Err(Error::new(Kind::Input, message).hint("give each user one id in every overlay.toml that declares it"));
            }
            users.insert(user.name.clone(), user.clone());
        }
        Ok(Self { users })
    }

    /// The id of a user, or of the group of the same name.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if no overlay declares it.
    pub(super) fn id(&self, name: &str) -> Result<u32> {
        if name == "root" {
            return Ok(0);
        }
        self.users.get(name).map(|user| user.id).ok_or_else(|| {
            Error::new(Kind::Input, format!("no overlay of this node declares the user `{name}`")).hint("add it under `[[users]]`")
        })
    }

    pub(super) fn into_users(self) -> impl Iterator<Item = User> {
        self.users.into_values()
    }
}
