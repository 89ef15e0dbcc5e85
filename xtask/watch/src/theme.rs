//! Styles: with colours or without, with letters of Unicode or of ASCII only.
//!
//! Colour alone carries no information: cells have letters, and states have words.

use std::env;

use carapace_cli::memory_map::palette::{Depth, Look, Rgb, look};
use guest::schema::Kind;
use ratatui::style::{Color, Modifier, Style};

/// The terminal's abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    colours: Depth,
    letters: Letters,
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
    pub const fn new(colours: Depth, letters: Letters) -> Self {
        Self { colours, letters }
    }

    /// What this terminal can show, by its environment: `NO_COLOR`, `TERM`, `COLORTERM`, the locale.
    pub fn of_environment() -> Self {
        let value = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let locale = value("LC_ALL").or_else(|| value("LC_CTYPE")).or_else(|| value("LANG"));
        let term = value("TERM");
        let depth = |refused| Depth::of_environment(refused, term.as_deref(), value("COLORTERM").as_deref());
        // A terminal that can have no colours is an old one, whatever the user wants.
        Self::of(depth(value("NO_COLOR").is_some()), depth(false) == Depth::None, locale.as_deref())
    }

    fn of(colours: Depth, is_old: bool, locale: Option<&str>) -> Self {
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let unicode = !is_old && (locale.contains("utf-8") || locale.contains("utf8"));
        Self::new(colours, if unicode { Letters::Unicode } else { Letters::Ascii })
    }

    /// The colours that there are.
    pub const fn colours(self) -> Depth {
        self.colours
    }

    fn coloured(self, style: Style) -> Style {
        match self.colours {
            Depth::None => Style::new(),
            _ => style,
        }
    }

    /// A colour of the picture in the terminal's terms; `None`: the terminal's own.
    fn colour(self, rgb: Rgb, indexed: u8, sixteen: Option<u8>) -> Color {
        match (self.colours, sixteen) {
            (Depth::True, _) => Color::Rgb(rgb[0], rgb[1], rgb[2]),
            (Depth::Indexed, _) => Color::Indexed(indexed),
            // Numbers of escape sequences: 30 and 40 are the first of the eight dark ones, 90 and 100 of the bright ones.
            (_, Some(number @ 90..)) => Color::Indexed(number % 10 + 8),
            (_, Some(number)) => Color::Indexed(number % 10),
            (_, None) => Color::Reset,
        }
    }

    /// A cell of which most is this.
    pub fn cell(self, kind: Option<Kind>) -> Style {
        let Some(Look { rgb, indexed, sixteen }) = kind.map(look) else { return Style::new() };
        let style = Style::new()
            .fg(self.colour(rgb.1, indexed.1, Some(sixteen.1)))
            .bg(self.colour(rgb.0, indexed.0, sixteen.0));
        self.coloured(style)
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

    /// Bars of free memory: in the letters' colour of its cells, which is the lighter one.
    pub fn bar(self) -> Style {
        let Look { rgb, indexed, sixteen } = look(Kind::Free);
        self.coloured(Style::new().fg(self.colour(rgb.1, indexed.1, Some(sixteen.1))))
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

    /// Proves that bars are of ASCII where the terminal is old or the locale has no Unicode. Fails when such a terminal
    /// shows question marks.
    #[test]
    fn environments() {
        let utf8 = Some("de_DE.UTF-8");
        assert_eq!(Theme::of(Depth::True, false, utf8), Theme::new(Depth::True, Letters::Unicode));
        assert_eq!(Theme::of(Depth::None, false, utf8), Theme::new(Depth::None, Letters::Unicode));
        assert_eq!(Theme::of(Depth::Sixteen, false, Some("C")), Theme::new(Depth::Sixteen, Letters::Ascii));
        assert_eq!(Theme::of(Depth::None, true, utf8), Theme::new(Depth::None, Letters::Ascii));
    }

    /// Proves that the cells have the shell's colours in each depth. Fails when the view differs from `map`.
    #[test]
    fn cells() {
        let cell = |depth, kind| Theme::new(depth, Letters::Ascii).cell(Some(kind));
        let free = cell(Depth::True, Kind::Free);
        assert_eq!((free.bg, free.fg), (Some(Color::Rgb(36, 79, 58)), Some(Color::Rgb(217, 244, 228))));
        assert_eq!(cell(Depth::Indexed, Kind::Used).bg, Some(Color::Indexed(172)));
        let few = cell(Depth::Sixteen, Kind::Free);
        assert_eq!((few.bg, few.fg), (Some(Color::Reset), Some(Color::Indexed(2))));
        assert_eq!(cell(Depth::Sixteen, Kind::Boot).fg, Some(Color::Indexed(15)));
    }

    /// Without colours no style has any.
    #[test]
    fn without_colours() {
        let theme = Theme::new(Depth::None, Letters::Ascii);
        for style in [theme.cell(Some(Kind::Used)), theme.quiet(), theme.good(), theme.bad(), theme.bar()] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }

    /// Bars grow with the number, and show one of something as something.
    #[test]
    fn bars() {
        let theme = Theme::new(Depth::None, Letters::Ascii);
        let heights: String =
            [0, 1, 2, 3, 4, 255, u64::MAX].iter().map(|&count| theme.height(count)).collect();
        assert_eq!(heights, ".122388");
        assert_eq!(theme.share(1, 1_000_000, 4), "#...");
        assert_eq!(theme.share(0, 0, 4), "....");
        assert_eq!(theme.share(u64::MAX, u64::MAX, 4), "####");
    }
}
