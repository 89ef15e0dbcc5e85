//! ACPICA.
