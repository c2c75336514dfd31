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
    ($($(#[$doc:meta])* $op:ident $name:literal $takes:expr;)*) => {
        /// An atom without its arguments. `n` is the number of characters; places are counted from 0.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Op { $($(#[$doc])* $op,)* }

        impl Op {
            /// All 67.
            pub const ALL: &[Self] = &[$(Self::$op),*];

            /// The name in programs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$op => $name),* }
            }

            /// What it takes.
            pub fn takes(self) -> Takes {
                match self { $(Self::$op => $takes),* }
            }
        }
    };
}

ops! {
    /// Every letter small.
    Lowercase "lowercase" Takes::Nothing;
    /// Every letter large.
    Uppercase "uppercase" Takes::Nothing;
    /// The first letter large, the others small.
    Capitalize "capitalize" Takes::Nothing;
    /// Backwards.
    Reverse "reverse" Takes::Nothing;
    /// The first `n / 2` characters backwards.
    ReverseFirstHalf "reverse_first_half" Takes::Nothing;
    /// The others backwards.
    ReverseLastHalf "reverse_last_half" Takes::Nothing;
    /// Each word backwards; one space between words.
    ReverseWords "reverse_words" Takes::Nothing;
    /// Large letters at even places, small ones at odd places.
    AlternateCase "alternate_case" Takes::Nothing;
    /// The vowels in reverse order, in the places of vowels.
    ReverseVowels "reverse_vowels" Takes::Nothing;
    /// The digits as words, joined by spaces.
    DigitsAsWords "digits_as_words" Takes::Nothing;
    /// Without digits.
    RemoveDigits "remove_digits" Takes::Nothing;
    /// Only large letters.
    KeepUppercase "keep_uppercase" Takes::Nothing;
    /// Without white space.
    RemoveWhitespace "remove_whitespace" Takes::Nothing;
    /// The first character.
    FirstChar "first_char" Takes::Nothing;
    /// The last character.
    LastChar "last_char" Takes::Nothing;
    /// The middle character; two where `n` is even.
    MiddleChar "middle_char" Takes::Nothing;
    /// Each character where it first occurs.
    RemoveDuplicates "remove_duplicates" Takes::Nothing;
    /// Without white space at the ends.
    Strip "strip" Takes::Nothing;
    /// Without white space at the beginning.
    LeftStrip "left_strip" Takes::Nothing;
    /// Without white space at the end.
    RightStrip "right_strip" Takes::Nothing;
    /// `n` as a word; `unknown` above 30.
    Length "length" Takes::Nothing;
    /// The number of vowels as a word.
    CountVowels "count_vowels" Takes::Nothing;
    /// The number of consonants as a word; the published list of consonants holds a small `a`, and so does this one.
    CountConsonants "count_consonants" Takes::Nothing;
    /// The number of large letters as a word.
    CountUppercase "count_uppercase" Takes::Nothing;
    /// The number of small letters as a word.
    CountLowercase "count_lowercase" Takes::Nothing;
    /// How often a letter occurs, as a word.
    CountLetter "count_letter" Takes::Letter;
    /// How often a text of one letter occurs, as a word: the same function under another name, as published.
    CountSubstring "count_substring" Takes::Letter;
    /// The place of a letter as a word; `none` where it does not occur.
    IndexOfLetter "index_of_letter" Takes::Letter;
    /// The places of all letters as words, joined by spaces; each letter has the place where it first occurs, as published.
    IndexOfLetters "index_of_letters" Takes::Nothing;
    /// The place of the last character as a word where that is a digit, else nothing: a published defect.
    IndexOfDigits "index_of_digits" Takes::Nothing;
    /// The place of the first character in the alphabet as a word, `zero` where it is no letter.
    AlphabetFirst "alphabet_first" Takes::Nothing;
    /// The same of the last character.
    AlphabetLast "alphabet_last" Takes::Nothing;
    /// The same of the character at `n / 2`.
    AlphabetMiddle "alphabet_middle" Takes::Nothing;
    /// Every vowel becomes a letter.
    VowelsTo "vowels_to" Takes::Letter;
    /// Every vowel becomes the first character.
    VowelsToFirst "vowels_to_first" Takes::Nothing;
    /// Every vowel becomes the last character.
    VowelsToLast "vowels_to_last" Takes::Nothing;
    /// Every vowel becomes the character at `n / 2`; unchanged below two characters.
    VowelsToMiddle "vowels_to_middle" Takes::Nothing;
    /// Every vowel becomes the character at `v - 1`, `v` being the number of vowels.
    VowelsToCount "vowels_to_count" Takes::Nothing;
    /// Letters move on in the alphabet.
    Add "add" Takes::Number(1, 9);
    /// Letters move back in the alphabet.
    Subtract "subtract" Takes::Number(1, 9);
    /// Letters become small and move on by the place in the alphabet of the character at a place; unchanged where there is none.
    AdvanceByChar "advance_by_char" Takes::Number(1, 9);
    /// The same backwards.
    RetreatByChar "retreat_by_char" Takes::Number(1, 9);
    /// Letters move on by `n`.
    AddLength "add_length" Takes::Nothing;
    /// The middle letter moves on, where `n` is odd and at least 3.
    AddToMiddle "add_to_middle" Takes::Number(1, 9);
    /// The middle letter moves back, likewise.
    SubtractFromMiddle "subtract_from_middle" Takes::Number(1, 9);
    /// The middle letter moves on by `n`, likewise.
    AddLengthToMiddle "add_length_to_middle" Takes::Nothing;
    /// The first letter moves on by plain code points, which may leave the alphabet; `z` alone becomes `a` first.
    ShiftFirst "shift_first" Takes::Number(0, 25);
    /// The last letter does.
    ShiftLast "shift_last" Takes::Number(0, 25);
    /// The first letter moves back by plain code points; `a` alone becomes `z` first.
    UnshiftFirst "unshift_first" Takes::Number(0, 25);
    /// The last letter does.
    UnshiftLast "unshift_last" Takes::Number(0, 25);
    /// The letter at the second number moves on by the first; unchanged where the text is too short.
    AddAt "add_at" Takes::Places;
    /// The same: the published function is said to subtract, and adds.
    SubtractAt "subtract_at" Takes::Places;
    /// The letter at a random place moves on by that place. Not deterministic.
    AddAtRandom "add_at_random" Takes::Nothing;
    /// The letter at a random place moves back by that place. Not deterministic.
    SubtractAtRandom "subtract_at_random" Takes::Nothing;
    /// A letter is appended where the text does not end with it.
    AppendUnlessEnding "append_unless_ending" Takes::Letter;
    /// A letter is inserted at `n / 2`.
    InsertLetter "insert_letter" Takes::Letter;
    /// A digit is inserted at `n / 2`.
    InsertDigit "insert_digit" Takes::Digit;
    /// A text is appended.
    Append "append" Takes::Text;
    /// The first character is appended.
    AppendFirst "append_first" Takes::Nothing;
    /// The last character is appended.
    AppendLast "append_last" Takes::Nothing;
    /// The character at `n / 2` is appended.
    AppendMiddle "append_middle" Takes::Nothing;
    /// Split on a letter, and joined with spaces.
    SplitOn "split_on" Takes::Letter;
    /// Without a letter.
    RemoveLetter "remove_letter" Takes::Letter;
    /// A letter becomes another one.
    ReplaceLetter "replace_letter" Takes::Letters;
    /// The first and the last character change places.
    SwapEnds "swap_ends" Takes::Nothing;
    /// The characters at two places change places; unchanged where the text is too short.
    SwapAt "swap_at" Takes::Places;
    /// Every letter becomes small and is replaced by that in its place of another order of the alphabet.
    Cipher "cipher" Takes::Alphabet;
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
        Self::new(op, args).ok_or_else(|| format!("{} does not take these arguments", op.name()))
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
