//! The names of the atoms, and the arguments that each takes.

use serde::{Deserialize, Serialize};

/// What an atom takes besides the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A letter.
    Letter,
    /// A digit.
    Digit,
    /// Two letters.
    Letters,
    /// A number from `0` to `1`, inclusive.
    Number(usize, usize),
    /// Two distinct places from 0 to 9.
    Places,
    /// A text of one to five letters.
    Text,
    /// The letters from a to z in another order.
    Alphabet,
}

/// Its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Args {
    /// None.
    Nothing,
    /// A letter or digit.
    Letter(char),
    /// Two letters.
    Letters(char, char),
    /// A number.
    Number(usize),
    /// Two places.
    Places(usize, usize),
    /// A text.
    Text(String),
}

macro_rules! ops {
    ($($(#[$doc:meta])* $op:ident $takes:expr;)*) => {
        /// An atom without its arguments, one of 67. `n` is the number of characters; places are counted from 0.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[derive(strum::Display, strum::EnumString, strum::VariantArray)]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum Op { $($(#[$doc])* $op,)* }

        impl Op {
            /// What it takes.
            pub fn takes(self) -> Takes {
                match self { $(Self::$op => $takes),* }
            }
        }
    };
}

ops! {
    /// Every letter small.
    Lowercase Takes::Nothing;
    /// Every letter large.
    Uppercase Takes::Nothing;
    /// The first letter large, the others small.
    Capitalize Takes::Nothing;
    /// Backwards.
    Reverse Takes::Nothing;
    /// The first `n / 2` characters backwards.
    ReverseFirstHalf Takes::Nothing;
    /// The others backwards.
    ReverseLastHalf Takes::Nothing;
    /// Each word backwards; one space between words.
    ReverseWords Takes::Nothing;
    /// Large letters at even places, small ones at odd places.
    AlternateCase Takes::Nothing;
    /// The vowels in reverse order, in the places of vowels.
    ReverseVowels Takes::Nothing;
    /// The digits as words, joined by spaces.
    DigitsAsWords Takes::Nothing;
    /// Without digits.
    RemoveDigits Takes::Nothing;
    /// Only large letters.
    KeepUppercase Takes::Nothing;
    /// Without white space.
    RemoveWhitespace Takes::Nothing;
    /// The first character.
    FirstChar Takes::Nothing;
    /// The last character.
    LastChar Takes::Nothing;
    /// The middle character; two where `n` is even.
    MiddleChar Takes::Nothing;
    /// Each character where it first occurs.
    RemoveDuplicates Takes::Nothing;
    /// Without white space at the ends.
    Strip Takes::Nothing;
    /// Without white space at the beginning.
    LeftStrip Takes::Nothing;
    /// Without white space at the end.
    RightStrip Takes::Nothing;
    /// `n` as a word; `unknown` above 30.
    Length Takes::Nothing;
    /// The number of vowels as a word.
    CountVowels Takes::Nothing;
    /// The number of consonants as a word; the published list of consonants holds a small `a`, and so does this one.
    CountConsonants Takes::Nothing;
    /// The number of large letters as a word.
    CountUppercase Takes::Nothing;
    /// The number of small letters as a word.
    CountLowercase Takes::Nothing;
    /// How often a letter occurs, as a word.
    CountLetter Takes::Letter;
    /// How often a text of one letter occurs, as a word: the same function under another name, as published.
    CountSubstring Takes::Letter;
    /// The place of a letter as a word; `none` where it does not occur.
    IndexOfLetter Takes::Letter;
    /// The places of all letters as words, joined by spaces; each letter has the place where it first occurs, as published.
    IndexOfLetters Takes::Nothing;
    /// The place of the last character as a word where that is a digit, else nothing: a published defect.
    IndexOfDigits Takes::Nothing;
    /// The place of the first character in the alphabet as a word, `zero` where it is no letter.
    AlphabetFirst Takes::Nothing;
    /// The same of the last character.
    AlphabetLast Takes::Nothing;
    /// The same of the character at `n / 2`.
    AlphabetMiddle Takes::Nothing;
    /// Every vowel becomes a letter.
    VowelsTo Takes::Letter;
    /// Every vowel becomes the first character.
    VowelsToFirst Takes::Nothing;
    /// Every vowel becomes the last character.
    VowelsToLast Takes::Nothing;
    /// Every vowel becomes the character at `n / 2`; unchanged below two characters.
    VowelsToMiddle Takes::Nothing;
    /// Every vowel becomes the character at `v - 1`, `v` being the number of vowels.
    VowelsToCount Takes::Nothing;
    /// Letters move on in the alphabet.
    Add Takes::Number(1, 9);
    /// Letters move back in the alphabet.
    Subtract Takes::Number(1, 9);
    /// Letters become small and move on by the place in the alphabet of the character at a place; unchanged where there is none.
    AdvanceByChar Takes::Number(1, 9);
    /// The same backwards.
    RetreatByChar Takes::Number(1, 9);
    /// Letters move on by `n`.
    AddLength Takes::Nothing;
    /// The middle letter moves on, where `n` is odd and at least 3.
    AddToMiddle Takes::Number(1, 9);
    /// The middle letter moves back, likewise.
    SubtractFromMiddle Takes::Number(1, 9);
    /// The middle letter moves on by `n`, likewise.
    AddLengthToMiddle Takes::Nothing;
    /// The first letter moves on by plain code points, which may leave the alphabet; `z` alone becomes `a` first.
    ShiftFirst Takes::Number(0, 25);
    /// The last letter does.
    ShiftLast Takes::Number(0, 25);
    /// The first letter moves back by plain code points; `a` alone becomes `z` first.
    UnshiftFirst Takes::Number(0, 25);
    /// The last letter does.
    UnshiftLast Takes::Number(0, 25);
    /// The letter at the second number moves on by the first; unchanged where the text is too short.
    AddAt Takes::Places;
    /// The same: the published function is said to subtract, and adds.
    SubtractAt Takes::Places;
    /// The letter at a random place moves on by that place. Not deterministic.
    AddAtRandom Takes::Nothing;
    /// The letter at a random place moves back by that place. Not deterministic.
    SubtractAtRandom Takes::Nothing;
    /// A letter is appended where the text does not end with it.
    AppendUnlessEnding Takes::Letter;
    /// A letter is inserted at `n / 2`.
    InsertLetter Takes::Letter;
    /// A digit is inserted at `n / 2`.
    InsertDigit Takes::Digit;
    /// A text is appended.
    Append Takes::Text;
    /// The first character is appended.
    AppendFirst Takes::Nothing;
    /// The last character is appended.
    AppendLast Takes::Nothing;
    /// The character at `n / 2` is appended.
    AppendMiddle Takes::Nothing;
    /// Split on a letter, and joined with spaces.
    SplitOn Takes::Letter;
    /// Without a letter.
    RemoveLetter Takes::Letter;
    /// A letter becomes another one.
    ReplaceLetter Takes::Letters;
    /// The first and the last character change places.
    SwapEnds Takes::Nothing;
    /// The characters at two places change places; unchanged where the text is too short.
    SwapAt Takes::Places;
    /// Every letter becomes small and is replaced by that in its place of another order of the alphabet.
    Cipher Takes::Alphabet;
}

impl Op {
    /// Whether it may stand inside of another: what leaves one or two characters, and the cipher, may not.
    pub fn may_be_inner(self) -> bool {
        !matches!(self, Self::FirstChar | Self::LastChar | Self::MiddleChar | Self::Cipher)
    }

    /// Whether the same text always gives the same.
    pub fn is_deterministic(self) -> bool {
        !matches!(self, Self::AddAtRandom | Self::SubtractAtRandom)
    }
}

/// An atom with its arguments, which always fit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Atom {
    op: Op,
    args: Args,
}

/// As it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    op: Op,
    args: Args,
}

impl From<Atom> for Parts {
    fn from(Atom { op, args }: Atom) -> Self {
        Self { op, args }
    }
}

impl TryFrom<Parts> for Atom {
    type Error = String;

    fn try_from(Parts { op, args }: Parts) -> Result<Self, String> {
        Self::new(op, args).ok_or_else(|| format!("{op} does not take these arguments"))
    }
}

impl Atom {
    /// An atom; `None` where the arguments are not those that it takes.
    pub fn new(op: Op, args: Args) -> Option<Self> {
        let fit = match (op.takes(), &args) {
            (Takes::Nothing, Args::Nothing) => true,
            (Takes::Letter, Args::Letter(c)) => c.is_ascii_alphabetic(),
            (Takes::Digit, Args::Letter(c)) => c.is_ascii_digit(),
            (Takes::Letters, Args::Letters(a, b)) => a.is_ascii_alphabetic() && b.is_ascii_alphabetic(),
            (Takes::Number(low, high), Args::Number(n)) => (low..=high).contains(n),
            (Takes::Places, Args::Places(a, b)) => a != b && *a < 10 && *b < 10,
            (Takes::Text, Args::Text(text)) => {
                (1..=5).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphabetic())
            }
            (Takes::Alphabet, Args::Text(text)) => {
                let mut letters: Vec<u8> = text.bytes().collect();
                letters.sort_unstable();
                letters == (b'a'..=b'z').collect::<Vec<_>>()
            }
            _ => false,
        };
        fit.then_some(Self { op, args })
    }

    /// Its name.
    pub fn op(&self) -> Op {
        self.op
    }

    /// Its arguments.
    pub fn args(&self) -> &Args {
        &self.args
    }
}
