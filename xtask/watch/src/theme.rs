//! Styles: with colours or without, with letters of Unicode or of ASCII only.
//!
//! Colour alone carries no information: cells have letters, and states have words.

use std::env;

use guest::schema::Kind;
use ratatui::style::{Color, Modifier, Style};

/// The terminal's abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    colours: Colours,
    letters: Letters,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// The eight of ECMA-48.
    Eight,
    /// None; bold and reverse at most.
    None,
}

/// Which letters there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    /// Lines and bars too.
    Unicode,
    /// ASCII only.
    Ascii,
}

impl Theme {
    /// A look.
    pub const fn new(colours: Colours, letters: Letters) -> Self {
        Self { colours, letters }
    }

    /// What this terminal can show, by its environment: `NO_COLOR` (<https://no-color.org>), `TERM`, the locale.
    pub fn of_environment() -> Self {
        let value = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let locale = value("LC_ALL").or_else(|| value("LC_CTYPE")).or_else(|| value("LANG"));
        Self::of(value("NO_COLOR").is_some(), value("TERM").as_deref(), locale.as_deref())
    }

    fn of(no_colour: bool, term: Option<&str>, locale: Option<&str>) -> Self {
        let plain = match term {
            None | Some("dumb" | "unknown") => true,
            Some(name) => ["vt52", "vt100", "vt102", "vt220"].iter().any(|old| name.starts_with(old)),
        };
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let unicode = !plain && (locale.contains("utf-8") || locale.contains("utf8"));
        Self::new(
            if no_colour || plain { Colours::None } else { Colours::Eight },
            if unicode { Letters::Unicode } else { Letters::Ascii },
        )
    }

    /// Whether there are colours.
    pub const fn colours(self) -> Colours {
        self.colours
    }

    fn coloured(self, style: Style) -> Style {
        match self.colours {
            Colours::Eight => style,
            Colours::None => Style::new(),
        }
    }

    /// A cell of which most is this.
    pub fn cell(self, kind: Option<Kind>) -> Style {
        let (background, letter) = match kind {
            None => return Style::new(),
            Some(Kind::Free) => (Color::Green, Color::Black),
            Some(Kind::Used) => (Color::Yellow, Color::Black),
            Some(Kind::Boot) => (Color::Magenta, Color::White),
            Some(Kind::Memmap) => (Color::Blue, Color::White),
            Some(Kind::Offline) => (Color::Red, Color::White),
            Some(Kind::Unplugged) => (Color::DarkGray, Color::White),
        };
        self.coloured(Style::new().fg(letter).bg(background))
    }

    /// The line at the top, and the selection.
    pub fn reverse(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Titles.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub fn quiet(self) -> Style {
        self.coloured(Style::new().fg(Color::DarkGray))
    }

    /// What went well.
    pub fn good(self) -> Style {
        self.coloured(Style::new().fg(Color::Green)).add_modifier(Modifier::BOLD)
    }

    /// What did not.
    pub fn bad(self) -> Style {
        self.coloured(Style::new().fg(Color::Red)).add_modifier(Modifier::BOLD)
    }

    /// Bars.
    pub fn bar(self) -> Style {
        self.coloured(Style::new().fg(Color::Green))
    }

    /// A bar for so many blocks: its height is how many binary digits the number has; eight heights.
    pub fn height(self, blocks: u64) -> char {
        let digits = (u64::BITS - blocks.leading_zeros()).min(8) as usize;
        let heights = match self.letters {
            Letters::Unicode => [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Letters::Ascii => ['.', '1', '2', '3', '4', '5', '6', '7', '8'],
        };
        heights[digits]
    }

    /// A bar of `width` letters of which this share of `whole` is filled.
    pub fn share(self, part: u64, whole: u64, width: usize) -> String {
        let filled = u128::from(part) * width as u128 / u128::from(whole.max(1));
        // Nothing looks like nothing, and something like something.
        let filled =
            usize::try_from(filled).unwrap_or(width).min(width).max(usize::from(part > 0 && width > 0));
        let (full, rest) = match self.letters {
            Letters::Unicode => ("█", "░"),
            Letters::Ascii => ("#", "."),
        };
        [full.repeat(filled), rest.repeat(width - filled)].concat()
    }

    /// The letter of horizontal lines.
    pub const fn rule(self) -> &'static str {
        match self.letters {
            Letters::Unicode => "─",
            Letters::Ascii => "-",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No colour if the user or the terminal excludes it, no Unicode bars if the locale has no Unicode.
    #[test]
    fn environments() {
        let utf8 = Some("de_DE.UTF-8");
        assert_eq!(
            Theme::of(false, Some("xterm-256color"), utf8),
            Theme::new(Colours::Eight, Letters::Unicode)
        );
        assert_eq!(Theme::of(true, Some("xterm"), utf8), Theme::new(Colours::None, Letters::Unicode));
        assert_eq!(Theme::of(false, Some("xterm"), Some("C")), Theme::new(Colours::Eight, Letters::Ascii));
        for term in [None, Some("dumb"), Some("vt100"), Some("vt220-w")] {
            assert_eq!(Theme::of(false, term, utf8), Theme::new(Colours::None, Letters::Ascii), "{term:?}");
        }
    }

    /// Without colours no style has any.
    #[test]
    fn without_colours() {
        let theme = Theme::new(Colours::None, Letters::Ascii);
        for style in [theme.cell(Some(Kind::Used)), theme.quiet(), theme.good(), theme.bad(), theme.bar()] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }

    /// Bars grow with the number, and show one of something as something.
    #[test]
    fn bars() {
        let theme = Theme::new(Colours::None, Letters::Ascii);
        let heights: String =
            [0, 1, 2, 3, 4, 255, u64::MAX].iter().map(|&count| theme.height(count)).collect();
        assert_eq!(heights, ".122388");
        assert_eq!(theme.share(1, 1_000_000, 4), "#...");
        assert_eq!(theme.share(0, 0, 4), "....");
        assert_eq!(theme.share(u64::MAX, u64::MAX, 4), "####");
    }
}
