//! The seam to programs that make filesystems: what they are told, not where they come from.

use std::io::Write;
use std::path::Path;

use crate::base::Tools;
use crate::digest::Digest;
use crate::error::Result;
use crate::host::sandbox::Access;

/// Where a program of the tools tree sees the directory that it works in.
const INSIDE: &str = "/run/work";

/// Runs the programs of the locked tools tree. Tests run the host's.
pub(crate) trait Toolbox: Sync {
    /// Identifies the programs: other versions may make other bytes.
    fn digest(&self) -> Digest;

    /// Runs `program`. It sees `directory` at the path that `arguments` is given, may write there, and reads what `fill` writes.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Tool`] with what the program said; else what `fill` returns.
    fn run(&self, program: &str, directory: &Path, arguments: Arguments<'_>, fill: Fill<'_>) -> Result<()>;
}

/// Makes the arguments from the directory's path as the program sees it.
pub(crate) type Arguments<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// Writes a program's standard input.
pub(crate) type Fill<'a> = &'a dyn Fn(&mut dyn Write) -> Result<()>;

impl Toolbox for Tools {
    fn digest(&self) -> Digest {
        self.key()
    }

    fn run(&self, program: &str, directory: &Path, arguments: Arguments<'_>, fill: Fill<'_>) -> Result<()> {
        let mut command = self.command(program);
        // Temporary files belong on the disk of the result: they can be as large.
        command.args(arguments(INSIDE)).env("TMPDIR", INSIDE).bind(directory, INSIDE, Access::Write);
        command.run_with_stdin(fill).map(drop)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;
    use std::process::Stdio;

    use super::{Arguments, Fill, Toolbox};
    use crate::digest::Digest;
    use crate::error::Result;
    use crate::host;

    /// The host's own programs.
    #[derive(Debug)]
    pub(crate) struct HostTools;

    impl Toolbox for HostTools {
        fn digest(&self) -> Digest {
            Digest::of(b"host")
        }

        fn run(&self, program: &str, directory: &Path, arguments: Arguments<'_>, fill: Fill<'_>) -> Result<()> {
            let path = host::process::find(program).unwrap_or_else(|| program.into());
            let mut command = host::process::command(path);
            command.args(arguments(directory.to_str().unwrap()));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let filled = fill(&mut stdin);
            drop(stdin);
            host::process::wait(program, child)?;
            filled
        }
    }
}
