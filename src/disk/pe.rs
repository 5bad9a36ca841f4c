//! Sections of PE32+ images (Microsoft PE Format; UEFI 2.10 section 2.1.1): reads them, replaces one in
//! place, appends new ones.
//!
//! Headers change only as far as a new section requires, and existing content never moves.

use crate::error::{Error, Kind, Result};

/// `IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_READ`.
pub(crate) const CODE: u32 = 0x4000_0020;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`.
pub(crate) const DATA: u32 = 0x4000_0040;
/// `IMAGE_DLLCHARACTERISTICS_NX_COMPAT`.
pub(crate) const NX_COMPAT: u16 = 0x0100;

const SECTION_HEADER: usize = 40;
/// Offsets in the optional header of PE32+.
const INITIALIZED_DATA: usize = 8;
const SECTION_ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
const IMAGE_SIZE: usize = 56;
const HEADERS_SIZE: usize = 60;
const CHECKSUM: usize = 64;
const DLL_CHARACTERISTICS: usize = 70;
const SECURITY_DIRECTORY: usize = 112 + 4 * 8;

/// An image with consistent headers.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    bytes: Vec<u8>,
    /// Offset of the COFF header, after the signature.
    coff: usize,
    /// Offset of the optional header.
    optional: usize,
    sections: Vec<Section>,
}

/// One row of the section table.
#[derive(Clone, Debug)]
struct Section {
    name: String,
    /// Offset of the row in the file.
    header: usize,
    virtual_size: u32,
    virtual_address: u32,
    raw_size: u32,
    raw_offset: u32,
}

impl Image {
    /// Reads the headers of an image.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if it is not a PE32+ image, or a header points outside the image.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self> {
        let signature = u32_at(&bytes, 0x3c)? as usize;
        let mut image = Self { coff: signature + 4, optional: signature + 24, bytes, sections: Vec::new() };
        let is_pe = image.bytes.starts_with(b"MZ")
            && image.bytes.get(signature..).is_some_and(|rest| rest.starts_with(b"PE\0\0"));
        if !is_pe || u16_at(&image.bytes, image.optional)? != 0x20b {
            return Err(wrong("it is not a PE32+ image"));
        }
        if image.optional_u32(FILE_ALIGNMENT)?.count_ones() != 1
            || image.optional_u32(SECTION_ALIGNMENT)?.count_ones() != 1
        {
            return Err(wrong("an alignment is not a power of two"));
        }
        let table = image.optional + usize::from(u16_at(&image.bytes, image.coff + 16)?);
        for index in 0..usize::from(u16_at(&image.bytes, image.coff + 2)?) {
            image.sections.push(Section::parse(&image.bytes, table + index * SECTION_HEADER)?);
        }
        if image.sections.is_empty() { Err(wrong("it contains no sections")) } else { Ok(image) }
    }

    /// Returns the content of a section, without padding.
    pub(crate) fn section(&self, name: &str) -> Option<&[u8]> {
        let section = self.sections.iter().find(|section| section.name == name)?;
        Some(
            &self.bytes[section.raw_offset as usize..][..section.virtual_size.min(section.raw_size) as usize],
        )
    }

    /// Checks whether `IMAGE_DLLCHARACTERISTICS_NX_COMPAT` is set.
    pub(crate) fn is_nx_compatible(&self) -> bool {
        u16_at(&self.bytes, self.optional + DLL_CHARACTERISTICS).is_ok_and(|bits| bits & NX_COMPAT != 0)
    }

    /// Clears `IMAGE_DLLCHARACTERISTICS_NX_COMPAT`.
    pub(crate) fn clear_nx_compatible(&mut self) -> Result<()> {
        let at = self.optional + DLL_CHARACTERISTICS;
        let bits = u16_at(&self.bytes, at)? & !NX_COMPAT;
        self.bytes[at..at + 2].copy_from_slice(&bits.to_le_bytes());
        Ok(())
    }

    /// Drops the symbol table at the end of old stubs; images should not contain one.
    pub(crate) fn strip_symbols(&mut self) -> Result<()> {
        let start = u32_at(&self.bytes, self.coff + 8)? as usize;
        let symbols =
            start.saturating_add((u32_at(&self.bytes, self.coff + 12)? as usize).saturating_mul(18));
        if start == 0 || symbols.saturating_add(u32_at(&self.bytes, symbols)? as usize) != self.bytes.len() {
            return Ok(());
        }
        self.bytes.truncate(start);
        self.bytes[self.coff + 8..self.coff + 16].fill(0);
        Ok(())
    }

    /// Replaces the content of a section, if the new one fits.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the section does not exist or is too small.
    pub(crate) fn replace(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let section = self
            .sections
            .iter_mut()
            .find(|section| section.name == name)
            .ok_or_else(|| wrong(&format!("it contains no section `{name}`")))?;
        let size = small(content.len())?;
        if size > section.raw_size {
            return Err(wrong(&format!("`{name}` has space for only {} bytes", section.raw_size)));
        }
        section.virtual_size = size;
        let place = &mut self.bytes[section.raw_offset as usize..][..section.raw_size as usize];
        place[..content.len()].copy_from_slice(content);
        place[content.len()..].fill(0);
        let at = section.header + 8;
        self.bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
        Ok(())
    }

    /// Appends a section after the last one.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the image is signed, the headers are full, or it would exceed 4 GiB.
    pub(crate) fn append(&mut self, name: &str, content: &[u8], characteristics: u32) -> Result<()> {
        if self.optional_u32(SECURITY_DIRECTORY)? != 0 {
            return Err(wrong("it is signed, and a new section would invalidate the signature"));
        }
        let file_alignment = self.optional_u32(FILE_ALIGNMENT)?;
        let last = self.sections.last().expect("an image has at least one section");
        let header = last.header + SECTION_HEADER;
        if header + SECTION_HEADER > self.header_space()? {
            return Err(wrong(&format!("there is no space for `{name}` in its headers")));
        }
        let section = Section {
            name: name.to_owned(),
            header,
            virtual_size: small(content.len())?,
            virtual_address: align(last.end()?, self.optional_u32(SECTION_ALIGNMENT)?)?,
            raw_size: align(small(content.len())?, file_alignment)?,
            raw_offset: align(small(self.bytes.len())?, file_alignment)?,
        };
        self.bytes.resize(section.raw_offset as usize, 0);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(section.raw_offset as usize + section.raw_size as usize, 0);
        self.bytes[header..header + SECTION_HEADER].copy_from_slice(&section.to_bytes(characteristics));
        self.count(&section)?;
        self.sections.push(section);
        Ok(())
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the end of the space for headers, where the first section's content may begin.
    fn header_space(&self) -> Result<usize> {
        let declared = align(self.optional_u32(HEADERS_SIZE)?, self.optional_u32(FILE_ALIGNMENT)?)?;
        let first = self
            .sections
            .iter()
            .filter(|section| section.raw_size > 0)
            .map(|section| section.raw_offset)
            .min();
        Ok(declared.min(first.unwrap_or(declared)) as usize)
    }

    /// Updates the headers for a new section.
    fn count(&mut self, section: &Section) -> Result<()> {
        let count = u16_at(&self.bytes, self.coff + 2)? + 1;
        self.bytes[self.coff + 2..self.coff + 4].copy_from_slice(&count.to_le_bytes());
        let alignment = self.optional_u32(SECTION_ALIGNMENT)?;
        let headers = align(self.optional_u32(HEADERS_SIZE)?, self.optional_u32(FILE_ALIGNMENT)?)?;
        let data = self
            .optional_u32(INITIALIZED_DATA)?
            .checked_add(section.virtual_size)
            .ok_or_else(|| wrong("it is too large"))?;
        self.set_optional(HEADERS_SIZE, headers);
        self.set_optional(INITIALIZED_DATA, data);
        self.set_optional(IMAGE_SIZE, align(section.end()?, alignment)?);
        self.set_optional(CHECKSUM, 0);
        Ok(())
    }

    fn optional_u32(&self, field: usize) -> Result<u32> {
        u32_at(&self.bytes, self.optional + field)
    }

    fn set_optional(&mut self, field: usize, value: u32) {
        let at = self.optional + field;
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

impl Section {
    fn parse(bytes: &[u8], header: usize) -> Result<Self> {
        let name = bytes
            .get(header..header + 8)
            .ok_or_else(|| wrong("a header points beyond the end of the file"))?;
        let section = Self {
            name: String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(),
            header,
            virtual_size: u32_at(bytes, header + 8)?,
            virtual_address: u32_at(bytes, header + 12)?,
            raw_size: u32_at(bytes, header + 16)?,
            raw_offset: u32_at(bytes, header + 20)?,
        };
        let end = u64::from(section.raw_offset) + u64::from(section.raw_size);
        if end > bytes.len() as u64 {
            Err(wrong("a section extends beyond the end of the file"))
        } else {
            Ok(section)
        }
    }

    /// Returns the end address of the section in memory.
    fn end(&self) -> Result<u32> {
        self.virtual_address.checked_add(self.virtual_size).ok_or_else(|| wrong("it is too large"))
    }

    fn to_bytes(&self, characteristics: u32) -> [u8; SECTION_HEADER] {
        let mut bytes = [0; SECTION_HEADER];
        let length = self.name.len().min(8);
        bytes[..length].copy_from_slice(&self.name.as_bytes()[..length]);
        let fields = [self.virtual_size, self.virtual_address, self.raw_size, self.raw_offset];
        for (place, field) in bytes[8..24].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes[36..].copy_from_slice(&characteristics.to_le_bytes());
        bytes
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    bytes
        .get(at..at + 2)
        .map(|field| u16::from_le_bytes([field[0], field[1]]))
        .ok_or_else(|| wrong("a header points beyond the end of the file"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from(u16_at(bytes, at)?) | u32::from(u16_at(bytes, at + 2)?) << 16)
}

fn align(value: u32, alignment: u32) -> Result<u32> {
    value.checked_next_multiple_of(alignment).ok_or_else(|| wrong("it is too large"))
}

fn small(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| wrong("it is too large"))
}

fn wrong(why: &str) -> Error {
    Error::new(Kind::Input, format!("this UEFI program can't be used: {why}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{CODE, DATA, Image, small};

    /// A PE32+ image with one section `.text`, one `.sbat`, and space for `free` more.
    pub(crate) fn sample(free: usize) -> Vec<u8> {
        let headers = (64 + 24 + 240 + (2 + free) * 40_usize).next_multiple_of(512);
        let mut bytes = vec![0; headers];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &64_u32.to_le_bytes());
        put(64, b"PE\0\0\x64\x86\0\0");
        put(64 + 4 + 16, &240_u16.to_le_bytes());
        put(88, &0x20b_u16.to_le_bytes());
        put(88 + 32, &4096_u32.to_le_bytes());
        put(88 + 36, &512_u32.to_le_bytes());
        put(88 + 60, &small(328 + (2 + free) * 40).unwrap().to_le_bytes());
        put(88 + 70, &super::NX_COMPAT.to_le_bytes());
        put(64 + 4 + 2, &2_u16.to_le_bytes());
        let mut section = |index: usize, name: &[u8], address: u32, at: usize| {
            put(328 + index * 40, name);
            for (field, value) in [(8, 100), (12, address), (16, 512), (20, small(at).unwrap())] {
                put(328 + index * 40 + field, &value.to_le_bytes());
            }
        };
        section(0, b".text", 4096, headers);
        section(1, b".sbat", 8192, headers + 512);
        bytes.resize(headers + 512, 0x90);
        bytes.extend_from_slice(b"sbat,1,x\nlinux,1,y\n");
        bytes.resize(headers + 1024, 0);
        bytes
    }

    #[test]
    fn appended_and_replaced_sections_are_read_back() {
        let mut image = Image::parse(sample(2)).unwrap();
        image.append(".linux", &[1; 5000], CODE).unwrap();
        image.append(".cmdline", b"quiet", DATA).unwrap();
        image.replace(".sbat", b"sbat,1").unwrap();
        let image = Image::parse(image.into_bytes()).unwrap();
        assert_eq!(image.section(".linux").unwrap(), [1; 5000]);
        assert_eq!(image.section(".cmdline").unwrap(), b"quiet");
        assert_eq!(image.section(".sbat").unwrap(), b"sbat,1");
        assert_eq!(image.section(".text").unwrap(), [0x90; 100]);
    }

    #[test]
    fn headers_without_space_are_told_and_not_overrun() {
        let mut image = Image::parse(sample(0)).unwrap();
        let space = (512 - 328 - 80) / 40;
        for index in 0..space {
            image.append(&format!(".s{index}"), b"x", DATA).unwrap();
        }
        let err = image.append(".full", b"x", DATA).unwrap_err();
        assert_eq!(
            err.to_string(),
            "this UEFI program can't be used: there is no space for `.full` in its headers"
        );
        assert_eq!(image.section(".text").unwrap(), [0x90; 100]);
        let err = image.replace(".sbat", &[0; 513]).unwrap_err();
        assert_eq!(err.to_string(), "this UEFI program can't be used: `.sbat` has space for only 512 bytes");
    }

    #[test]
    fn broken_images_are_refused_without_a_panic() {
        let good = sample(2);
        for length in 0..good.len() {
            assert!(Image::parse(good[..length].to_vec()).is_err(), "{length} bytes were accepted");
        }
        for at in 0..512 {
            let mut bytes = good.clone();
            bytes[at] = 0xff;
            if let Ok(mut image) = Image::parse(bytes) {
                let _ = (image.section(".text").map(<[u8]>::len), image.append(".x", b"x", DATA));
            }
        }
    }
}
