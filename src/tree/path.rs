//! Paths inside an image, as a type that can't represent an invalid path.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// An absolute path inside the image: normal components only, no trailing slash, no control characters. The
/// root itself is not representable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ImagePath(String);

impl ImagePath {
    /// # Errors
    ///
    /// [`Kind::Input`] if the path is relative, or contains `.`, `..`, empty components or control
    /// characters.
    pub(crate) fn new(path: &str) -> Result<Self> {
        let ok = path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/')
                .all(|part| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control))
        });
        if ok {
            Ok(Self(path.to_owned()))
        } else {
            Err(Error::new(
                Kind::Input,
                format!("`{}` is not a valid path inside an image", path.escape_debug()),
            ))
        }
    }

    /// Appends components: `/usr` and `lib/x` become `/usr/lib/x`.
    ///
    /// # Errors
    ///
    /// Same as [`ImagePath::new`].
    pub(crate) fn join(&self, rest: &str) -> Result<Self> {
        Self::new(&format!("{}/{rest}", self.0))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path without the leading slash, as in archives.
    pub(crate) fn relative(&self) -> &str {
        &self.0[1..]
    }

    pub(crate) fn file_name(&self) -> &str {
        self.0.rsplit('/').next().expect("a path has at least one component")
    }

    /// Returns the parent directory; `None` for a child of the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        let cut = self.0.rfind('/').expect("a path starts with a slash");
        (cut > 0).then(|| Self(self.0[..cut].to_owned()))
    }

    /// Checks whether the path is `directory` or below it.
    pub(crate) fn is_under(&self, directory: &str) -> bool {
        self.0.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl<'de> serde::Deserialize<'de> for ImagePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ImagePath;

    #[test]
    fn a_path_that_could_leave_the_image_cannot_be_written() {
        for wrong in ["", "/", "etc", "/etc/", "/etc/../x", "/./x", "//x", "/a\nb"] {
            assert!(ImagePath::new(wrong).is_err(), "{wrong:?} was accepted");
        }
        assert_eq!(ImagePath::new("/etc/hosts").unwrap().parent().unwrap().as_str(), "/etc");
    }

    #[test]
    fn lying_under_a_directory_is_about_components() {
        let path = ImagePath::new("/etcetera/x").unwrap();
        assert!(!path.is_under("/etc"));
        assert!(path.is_under("/etcetera"));
    }
}
