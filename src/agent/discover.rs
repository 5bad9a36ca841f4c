//! Search for seeds: passed in at boot, on the config partition, on an attached volume, or stored on the
//! machine.

use std::path::{Path, PathBuf};

use crate::agent::machine::parameter;
use crate::agent::places::Places;
use crate::agent::select::Candidate;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::seed::{ORDER, Seed, read_carrier};
use crate::tree::ImagePath;
use crate::words::CONFIG;

/// Name prefixes of block devices that are not carriers, because they are backed by other devices or by
/// memory.
const MADE_UP: [&str; 5] = ["loop", "ram", "zram", "dm-", "md"];

/// A seed that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) candidate: Candidate,
    pub(crate) seed: Seed,
    /// Packed bytes, to be stored unchanged.
    pub(crate) packed: Vec<u8>,
    /// Path that the seed was read from; a file may be attached to the seed there.
    pub(crate) carrier: PathBuf,
}

/// Result of a search.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) carried: Vec<Found>,
    /// Errors for seeds that are damaged or have an unsupported format version.
    pub(crate) damaged: Vec<Error>,
}

/// Searches the carriers in order. If `explicit` is set, it is the only carrier.
///
/// # Errors
///
/// [`Kind::Io`] if the explicit file can't be read; another kind if it is not an intact seed.
pub(crate) fn carried(places: &Places, explicit: Option<&Path>) -> Result<Discovery> {
    let mut discovery = Discovery::default();
    if let Some(path) = explicit {
        let found = open(&format!("`{}`", path.display()), path)?;
        let nothing = || {
            Error::new(
                Kind::Input,
                format!("`{}` is not a seed: it does not begin with `KILNSEED`", path.display()),
            )
        };
        discovery.carried.push(found.ok_or_else(nothing)?);
        return Ok(discovery);
    }
    for (place, path) in carriers(places) {
        match open(&place, &path) {
            Ok(Some(found)) => discovery.carried.push(found),
            // An empty drive or a removed device is not a carrier.
            Ok(None) => {}
            Err(err) if err.kind() == Kind::Io => {}
            Err(err) => discovery.damaged.push(err),
        }
    }
    Ok(discovery)
}

/// Returns the seed that this machine accepted last. Damage is an error, since a power cut can't cause it.
pub(crate) fn stored(places: &Places) -> Result<Option<Found>> {
    let path = places.stored_seed();
    if path.exists() { open("this machine's own copy", &path) } else { Ok(None) }
}

fn open(place: &str, path: &Path) -> Result<Option<Found>> {
    let step = || format!("reading {place}");
    let Some(packed) = read_carrier(host::fs::open(path)?).doing(Kind::Io, step)? else { return Ok(None) };
    let seed = Seed::unpack(&packed).within(step)?;
    let ordered = seed.tree.get(&ImagePath::new(ORDER)?).is_some();
    let candidate = Candidate {
        place: place.to_owned(),
        digest: Seed::digest(&packed)?,
        identity: seed.identity.clone(),
        ordered,
    };
    Ok(Some(Found { candidate, seed, packed, carrier: path.to_owned() }))
}

/// Returns all possible carriers with their display names; config partitions come before other block devices.
fn carriers(places: &Places) -> Vec<(String, PathBuf)> {
    let handed = places.handed.iter().map(|path| (format!("`{}`", path.display()), path.clone()));
    let mut devices: Vec<(bool, String)> = block_devices(&places.sys);
    devices.sort_by_key(|(is_config, _)| !is_config);
    let devices = devices.into_iter().map(|(is_config, name)| {
        let path = places.dev.join(&name);
        let what = if is_config { "config partition" } else { "volume" };
        (format!("{what} `{}`", path.display()), path)
    });
    handed.chain(devices).collect()
}

/// Returns the names of block devices with a medium, each with a flag that is true for a config partition.
fn block_devices(sys: &Path) -> Vec<(bool, String)> {
    let entries = host::fs::list(&sys.join("class/block")).unwrap_or_default();
    let device = |entry: PathBuf| {
        let name = entry.file_name()?.to_str()?.to_owned();
        let text = |attribute: &str| host::fs::read_to_string(&entry.join(attribute)).unwrap_or_default();
        let made_up = MADE_UP.iter().any(|prefix| name.starts_with(prefix));
        let empty = text("size").trim() == "0";
        let label = text("uevent").lines().find_map(|line| parameter(line, "PARTNAME"));
        (!made_up && !empty).then(|| (label.as_deref() == Some(CONFIG), name))
    };
    entries.into_iter().filter_map(device).collect()
}
