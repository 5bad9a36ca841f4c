//! Byte formats that know bytes and nothing else.
