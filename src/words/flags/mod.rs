//! Flag history: deprecation, removal, replacement. Rendering, `kiln list versions` and lints use it.

mod table;

use crate::words::Span;

pub(crate) use table::FLAGS;

/// A flag that some version deprecates or no longer accepts.
#[derive(Debug)]
pub(crate) struct FlagHistory {
    /// Program; `None` for every Kubernetes component except kubeadm.
    program: Option<&'static str>,
    /// Name without the dashes; a name that ends with a dash matches every flag with this prefix.
    pub(crate) name: &'static str,
    /// The only affected value, if others remain valid.
    pub(crate) value: Option<&'static str>,
    /// Minor versions: of etcd 3.x for etcd, otherwise of Kubernetes 1.x.
    pub(crate) span: Span,
    /// Replacement; `nothing` if there is none.
    pub(crate) instead: &'static str,
    /// First version in which the replacement can do everything that the flag does, if later than the
    /// deprecation.
    needed_before: Option<u32>,
}

const fn row(program: &'static str, name: &'static str, span: Span, instead: &'static str) -> FlagHistory {
    FlagHistory { program: Some(program), ..every(name, span, instead) }
}

const fn every(name: &'static str, span: Span, instead: &'static str) -> FlagHistory {
    FlagHistory { program: None, name, value: None, span, instead, needed_before: None }
}

impl FlagHistory {
    /// Restricts the row to one value of the flag.
    const fn only(self, value: &'static str) -> Self {
        Self { value: Some(value), ..self }
    }

    const fn needed_before(self, minor: u32) -> Self {
        Self { needed_before: Some(minor), ..self }
    }

    /// Returns the row of a program's flag with this value.
    pub(crate) fn find(program: &str, name: &str, value: &str) -> Option<&'static Self> {
        FLAGS.iter().find(|row| {
            row.is_of(program) && row.is_named(name) && row.value.is_none_or(|only| only == value)
        })
    }

    /// Checks whether the row applies to `program`.
    pub(crate) fn is_of(&self, program: &str) -> bool {
        self.program.map_or(program.starts_with("kube") && program != "kubeadm", |own| own == program)
    }

    /// Checks whether a version should use the replacement.
    pub(crate) fn is_replaceable(&self, minor: u32) -> bool {
        self.span.covers(minor)
            && !self.span.is_current(minor)
            && self.needed_before.is_none_or(|needed| minor >= needed)
    }

    fn is_named(&self, name: &str) -> bool {
        if self.name.ends_with('-') { name.starts_with(self.name) } else { self.name == name }
    }
}

#[cfg(test)]
mod tests {
    use super::FLAGS;

    #[test]
    fn a_flag_is_deprecated_before_it_is_removed_and_is_in_the_table_once() {
        for (index, row) in FLAGS.iter().enumerate() {
            assert!(row.span.is_in_order() && row.span.removed.is_none_or(|removed| removed < 40), "{row:?}");
            let same = |other: &&super::FlagHistory| {
                (other.program, other.name, other.value) == (row.program, row.name, row.value)
            };
            assert!(FLAGS[..index].iter().find(same).is_none(), "{row:?}");
        }
    }
}
