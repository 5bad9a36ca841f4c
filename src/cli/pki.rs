//! `kiln pki`: manages the vault that contains a cluster's keys.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::cli::{Ui, input};
use crate::error::{Error, Kind, Result, counted};
use crate::host;
use crate::pki::{self, Algorithm, Filled, Item, Options, Vault};

/// Create and manage a cluster's keys and certificates
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  kiln pki init                      create the vault specified in the cluster file
  kiln pki init                      again, after adding nodes: issue missing certificates
  kiln pki expiry --warn-days 90     fail if a certificate expires within 90 days
  kiln pki renew --within-days 90    replace those certificates
  kiln pki kubeconfig --user super-admin --output break-glass.kubeconfig";

#[derive(Debug, Subcommand)]
enum Action {
    /// Create the vault, or issue certificates missing from an existing one; nothing is replaced
    Init(InitArgs),
    /// List every certificate: subject, names, authority, expiry
    List,
    /// List the days left for each certificate, earliest expiry first; exit with code 5 if any certificate
    /// has fewer than --warn-days left
    Expiry(ExpiryArgs),
    /// Replace certificates that no longer match the cluster or expire soon
    Renew(RenewArgs),
    /// Write an administrator's kubeconfig
    Kubeconfig(KubeconfigArgs),
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    /// Key algorithm [default: ecdsa-p256]
    #[arg(long, value_enum)]
    algorithm: Option<Algorithm>,

    /// Validity of leaf certificates in days [default: 1825]
    ///
    /// The default is five years: appliances are not renewed every year, and a seed may be stored before it
    /// is used. A leaf certificate never outlives its authority.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    leaf_days: Option<u32>,

    /// Validity of certificate authorities in days [default: 3650]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    ca_days: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct ExpiryArgs {
    /// Fail if a certificate has fewer than this many days left
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    warn_days: u32,
}

#[derive(Debug, clap::Args)]
struct RenewArgs {
    /// Certificates to replace unconditionally: `m1/apiserver`, or `apiserver` for every node
    names: Vec<String>,

    /// Replace certificates that expire within this many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    within_days: u32,
}

#[derive(Debug, clap::Args)]
struct KubeconfigArgs {
    /// User: `admin`, or `super-admin`, which RBAC does not restrict
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,

    /// File to write with mode 0600; it must not exist yet
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    match &args.action {
        Action::Init(args) => init(args, ui),
        Action::List => list(ui),
        Action::Expiry(args) => expiry(args, ui),
        Action::Renew(args) => renew(args, ui),
        Action::Kubeconfig(args) => kubeconfig(args, ui),
    }
}

fn init(args: &InitArgs, ui: &Ui) -> Result<()> {
    let cluster = input::cluster(ui)?;
    let options = Options { algorithm: args.algorithm, leaf_days: args.leaf_days, ca_days: args.ca_days };
    let filled = Vault::init(&cluster.vault, &cluster, options, ui)?;
    let vault = cluster.vault.display();
    match filled.issued.len() {
        issued if filled.created => {
            let issued = counted(issued, "certificate");
            ui.message(format!("created the vault `{vault}`: 3 authorities, {issued}"));
        }
        0 => ui.message(format!("the vault `{vault}` is complete")),
        issued => {
            let issued = counted(issued, "certificate");
            ui.message(format!("added {issued} to the vault `{vault}`: {}", names(&filled)));
        }
    }
    show(&filled, ui)?;
    if filled.misfits.is_empty() {
        return Ok(());
    }
    let misfits: Vec<String> =
        filled.misfits.iter().map(|(id, reason)| format!("`{id}` ({reason})")).collect();
    Err(Error::new(
        Kind::Verify,
        format!("certificates no longer match the cluster but were kept: {}", misfits.join(", ")),
    )
    .hint("run `kiln pki renew` to replace them"))
}

fn renew(args: &RenewArgs, ui: &Ui) -> Result<()> {
    let cluster = input::cluster(ui)?;
    let filled = Vault::open(&cluster.vault)?.renew(&cluster, &args.names, args.within_days, ui)?;
    match filled.issued.len() {
        0 => ui.message("every certificate matches the cluster, and none expires soon"),
        issued => ui.message(format!("issued {}: {}", counted(issued, "certificate"), names(&filled))),
    }
    show(&filled, ui)
}

fn names(filled: &Filled) -> String {
    filled.issued.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

/// Prints the result of `init` and `renew` as JSON for scripts; users see the message instead.
fn show(filled: &Filled, ui: &Ui) -> Result<()> {
    #[derive(Serialize)]
    struct Outcome<'a> {
        created: bool,
        issued: &'a [pki::LeafId],
    }
    if ui.global().json && filled.misfits.is_empty() {
        ui.print_json(&Outcome { created: filled.created, issued: &filled.issued })?;
    }
    Ok(())
}

fn list(ui: &Ui) -> Result<()> {
    let items = pki::inventory(&Vault::open(&input::cluster(ui)?.vault)?)?;
    ui.show(&items, |items| {
        let width = items.iter().map(|item| item.name.len()).max().unwrap_or_default();
        let line = |item: &Item| {
            let names = item.alternatives.join(" ");
            let names = if names.is_empty() { names } else { format!(", for {names}") };
            format!("{:width$}  {}  {}, by {}{names}\n", item.name, day(item), item.subject, item.issuer)
        };
        items.iter().map(line).collect()
    })
}

fn expiry(args: &ExpiryArgs, ui: &Ui) -> Result<()> {
    let mut items = pki::inventory(&Vault::open(&input::cluster(ui)?.vault)?)?;
    items.sort_by_key(|item| item.days_left);
    let short = items.iter().filter(|item| item.days_left < i64::from(args.warn_days)).count();
    // A script receives one document: the list, or why the exit code is not 0.
    if short == 0 || !ui.global().json {
        ui.show(&items, |items| {
            items
                .iter()
                .map(|item| format!("{:6} days  {}  {}\n", item.days_left, day(item), item.name))
                .collect()
        })?;
    }
    if short == 0 {
        return Ok(());
    }
    let message =
        format!("{short} of {} certificates have fewer than {} days left", items.len(), args.warn_days);
    let hint =
        match items.iter().find(|item| item.is_authority() && item.days_left < i64::from(args.warn_days)) {
            Some(authority) => {
                format!("the {} can't be renewed: create a new vault and rebuild the cluster", authority.name)
            }
            None => format!("run `kiln pki renew --within-days {}`", args.warn_days),
        };
    Err(Error::new(Kind::Verify, message).hint(hint))
}

/// Returns the expiry day.
fn day(item: &Item) -> &str {
    item.not_after.split('T').next().unwrap_or_default()
}

fn kubeconfig(args: &KubeconfigArgs, ui: &Ui) -> Result<()> {
    let cluster = input::cluster(ui)?;
    let pki = Vault::open(&cluster.vault)?.pki(&cluster)?;
    host::fs::write_new(&args.output, pki.kubeconfig_of(&args.user)?.as_bytes(), host::fs::PRIVATE)?;
    ui.message(format!("wrote `{}`: protect it like a private key", args.output.display()));
    Ok(())
}
