//! Interface to programs that create filesystems, independent of where the programs come from.

use std::io::Write;
use std::path::Path;

use crate::base::Tools;
use crate::digest::Digest;
use crate::error::Result;
use crate::host::sandbox::Access;

/// Path of the working directory as programs in the tools tree see it.
const INSIDE: &str = "/run/work";

/// Runs programs of the locked tools tree. Tests run the host's programs.
pub(crate) trait Toolbox: Sync {
    /// Returns a digest of the programs, because different versions may produce different bytes.
    fn digest(&self) -> Digest;

    /// Runs `program`. It sees `directory` at the path passed to `arguments`, may write there, and reads what
    /// `fill` writes.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Tool`], containing the program's message; otherwise errors from `fill`.
    fn run(&self, program: &str, directory: &Path, arguments: Arguments<'_>, fill: Fill<'_>) -> Result<()>;
}

/// Returns the arguments for the directory's path as the program sees it.
pub(crate) type Arguments<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// Writes a program's standard input.
pub(crate) type Fill<'a> = &'a dyn Fn(&mut dyn Write) -> Result<()>;

impl Toolbox for Tools {
    fn digest(&self) -> Digest {
        self.key()
    }

    fn run(&self, program: &str, directory: &Path, arguments: Arguments<'_>, fill: Fill<'_>) -> Result<()> {
        let mut command = self.command(program);
        // Temporary files belong on the same disk as the result: they can be as large.
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

        fn run(
            &self,
            program: &str,
            directory: &Path,
            arguments: Arguments<'_>,
            fill: Fill<'_>,
        ) -> Result<()> {
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
