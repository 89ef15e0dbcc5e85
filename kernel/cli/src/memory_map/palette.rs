//! The colours of the picture of memory, which the shell's `map` and the live view share with the report's dark page: as
//! many as a terminal shows.
//!
//! Invariant: colour alone carries no information, since cells have letters too.

use carapace_schema::Kind;
use core::fmt;

/// How many colours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// None.
    None,
    /// The sixteen whose shades the terminal chooses.
    Sixteen,
    /// xterm's 256.
    Indexed,
    /// 24 bits.
    True,
}

impl Depth {
    /// All of them.
    pub const ALL: [Depth; 4] = [Depth::None, Depth::Sixteen, Depth::Indexed, Depth::True];

    /// Its name, by which the host tells the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Depth::None => "never",
            Depth::Sixteen => "16",
            Depth::Indexed => "256",
            Depth::True => "truecolor",
        }
    }

    /// That of this name.
    pub fn named(name: &str) -> Option<Depth> {
        Depth::ALL.into_iter().find(|depth| depth.name() == name)
    }

    /// What the environment says of a terminal: `NO_COLOR` (<https://no-color.org>) if it is set, `TERM` and `COLORTERM`.
    pub fn of_environment(no_color: bool, term: Option<&str>, colorterm: Option<&str>) -> Depth {
        let Some(term) = term.filter(|_| !no_color) else { return Depth::None };
        let old = ["dumb", "unknown", "vt52", "vt100", "vt102", "vt220"];
        match colorterm {
            _ if old.iter().any(|old| term.starts_with(old)) => Depth::None,
            Some("truecolor" | "24bit") => Depth::True,
            _ if term.ends_with("-direct") => Depth::True,
            _ if term.contains("256color") => Depth::Indexed,
            _ => Depth::Sixteen,
        }
    }
}

/// Red, green and blue.
pub type Rgb = [u8; 3];

/// The colours of a cell: behind the letter and of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Of 24 bits.
    pub rgb: (Rgb, Rgb),
    /// Of xterm's 256.
    pub indexed: (u8, u8),
    /// Of the sixteen, by their numbers in escape sequences; `None`: the terminal's own.
    pub sixteen: (Option<u8>, u8),
}

/// The colours of cells of mostly `kind`. Free memory, most of a picture, is dark.
pub const fn look(kind: Kind) -> Look {
    let (rgb, indexed, sixteen) = match kind {
        Kind::Free => (([0x24, 0x4f, 0x3a], [0xd9, 0xf4, 0xe4]), (22, 194), (None, 32)),
        Kind::Used => (([0xd6, 0x9a, 0x2d], [0x20, 0x14, 0x00]), (172, 16), (Some(43), 30)),
        Kind::Boot => (([0x6f, 0x58, 0x97], [0xf4, 0xee, 0xff]), (97, 231), (Some(45), 97)),
        Kind::Memmap => (([0x62, 0xa9, 0xf2], [0x04, 0x16, 0x2b]), (75, 16), (Some(44), 97)),
        Kind::Offline => (([0xe2, 0x78, 0x6c], [0x2a, 0x05, 0x00]), (167, 16), (Some(41), 97)),
        Kind::Unplugged => (([0x3a, 0x3a, 0x3a], [0xb0, 0xb0, 0xb0]), (237, 249), (None, 90)),
    };
    Look { rgb, indexed, sixteen }
}

/// The escape sequence before cells of mostly a kind; before absent memory, `None`, the one that ends all colours.
#[derive(Clone, Copy, Debug)]
pub struct Sequence(pub Depth, pub Option<Kind>);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sequence(depth, Some(kind)) = *self else {
            return f.write_str(if self.0 == Depth::None { "" } else { "\x1b[0m" });
        };
        let look = look(kind);
        match (depth, look.sixteen) {
            (Depth::None, _) => Ok(()),
            (Depth::Sixteen, (Some(behind), letter)) => write!(f, "\x1b[0;{behind};{letter}m"),
            (Depth::Sixteen, (None, letter)) => write!(f, "\x1b[0;{letter}m"),
            (Depth::Indexed, _) => write!(f, "\x1b[48;5;{};38;5;{}m", look.indexed.0, look.indexed.1),
            (Depth::True, _) => {
                let ([r, g, b], [red, green, blue]) = look.rgb;
                write!(f, "\x1b[48;2;{r};{g};{b};38;2;{red};{green};{blue}m")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_schema::KINDS;
    use std::format;

    /// Proves what is taken of the environment: no colour where the user or the terminal excludes it, else as many as the
    /// terminal says. Fails when NO_COLOR is not respected.
    #[test]
    fn environments() {
        let of = Depth::of_environment;
        assert_eq!(of(true, Some("xterm-256color"), Some("truecolor")), Depth::None);
        assert_eq!(of(false, None, Some("truecolor")), Depth::None);
        for term in ["dumb", "vt100", "vt220-w"] {
            assert_eq!(of(false, Some(term), Some("truecolor")), Depth::None, "{term}");
        }
        assert_eq!(of(false, Some("xterm"), None), Depth::Sixteen);
        assert_eq!(of(false, Some("tmux-256color"), Some("")), Depth::Indexed);
        assert_eq!(of(false, Some("xterm-256color"), Some("truecolor")), Depth::True);
        for depth in Depth::ALL {
            assert_eq!(Depth::named(depth.name()), Some(depth));
        }
    }

    /// Proves that a letter can be read on its cell's colour, and that no two kinds look alike. Fails when free memory's
    /// dots vanish, as black ones did on bright green.
    #[test]
    fn readable() {
        let light = |[r, g, b]: Rgb| {
            let linear = |part: u8| {
                let part = f64::from(part) / 255.0;
                if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
        };
        for kind in KINDS {
            let (behind, letter) = look(kind).rgb;
            let (a, b) = (light(behind), light(letter));
            assert!((a.max(b) + 0.05) / (a.min(b) + 0.05) >= 4.5, "{kind:?}");
            for depth in &Depth::ALL[1..] {
                let alike = |other: &Kind| {
                    format!("{}", Sequence(*depth, Some(*other)))
                        == format!("{}", Sequence(*depth, Some(kind)))
                };
                assert_eq!(KINDS.iter().filter(|other| alike(other)).count(), 1);
            }
            assert_eq!(format!("{}", Sequence(Depth::None, Some(kind))), "");
        }
    }
}
