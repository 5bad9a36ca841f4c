//! Mapping of user and group names to the fixed ids that overlays reserve.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::overlay::{Overlay, User};

/// System users that the selected overlays define, keyed by name; root is implicit.
pub(super) struct Owners {
    users: BTreeMap<String, User>,
}

impl Owners {
    /// Collects the users of the overlays.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if overlays declare one name with two ids, or two names with one id.
    pub(super) fn of(overlays: &[&Overlay]) -> Result<Self> {
        let mut users: BTreeMap<String, User> = BTreeMap::new();
        for (overlay, user) in
            overlays.iter().flat_map(|overlay| overlay.manifest.users.iter().map(move |user| (overlay, user)))
        {
            let clash = users
                .values()
                .find(|other| (other.name == user.name || other.id == user.id) && *other != user);
            if let Some(other) = clash {
                let (name, id) = (&user.name, user.id);
                let message = format!(
                    "overlay `{}` declares user `{name}` ({id}), which conflicts with `{}` ({})",
                    overlay.name, other.name, other.id
                );
                return Err(Error::new(Kind::Input, message).hint(
                    "use a unique id for each user, the same in every overlay.toml that declares the user",
                ));
            }
            users.insert(user.name.clone(), user.clone());
        }
        Ok(Self { users })
    }

    /// Returns the id of a user, or of the group of the same name.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if no overlay declares the user.
    pub(super) fn id(&self, name: &str) -> Result<u32> {
        if name == "root" {
            return Ok(0);
        }
        self.users.get(name).map(|user| user.id).ok_or_else(|| {
            Error::new(Kind::Input, format!("no overlay of this node declares the user `{name}`"))
                .hint("add the user under `[[users]]` in overlay.toml")
        })
    }

    pub(super) fn into_users(self) -> impl Iterator<Item = User> {
        self.users.into_values()
    }
}
