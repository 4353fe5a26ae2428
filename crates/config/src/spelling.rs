//! Which of the known words was meant by another.

/// What to write instead of a word outside a closed list.
pub fn one_of(value: &str, known: &[impl AsRef<str>]) -> String {
    let words: Vec<_> = known.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    format!("write one of {}{}", words.join(", "), guess(value, known))
}

/// `; did you mean …?`, if one of the known words is near.
pub(super) fn guess(value: &str, known: &[impl AsRef<str>]) -> String {
    let guess = nearest(value, known).filter(|near| is_near(value, near));
    guess.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// The known word that is the fewest typos away; case and dashes do not count.
fn nearest<'k>(word: &str, known: &'k [impl AsRef<str>]) -> Option<&'k str> {
    known.iter().map(AsRef::as_ref).min_by_key(|candidate| distance(word, candidate))
}

fn is_near(word: &str, known: &str) -> bool {
    distance(word, known) <= known.len() / 2
}

/// The known key that was meant by one that is not known: one that is a few
/// typos away, or that is longer or shorter by whole words. A key that has a
/// place elsewhere is hardly misspelt.
pub(super) fn meant<'k>(key: &str, known: &'k [String], has_home: bool) -> Option<&'k str> {
    let is_typo = |candidate: &&String| match has_home {
        true => distance(key, candidate) <= 1,
        false => is_meant(key, candidate),
    };
    let typo = known.iter().filter(is_typo);
    let typo = typo.min_by_key(|candidate| distance(key, candidate));
    let by_words = || known.iter().find(|candidate| shares_words(key, candidate));
    typo.or_else(by_words).map(String::as_str)
}

/// Whether one word is the other with a few typos, or its beginning.
pub(super) fn is_meant(word: &str, known: &str) -> bool {
    const SHORTEST: usize = 3;
    let is_start = word.len() >= SHORTEST && known.starts_with(word);
    is_start || distance(word, known) <= (known.len() / 3).max(1)
}

/// Whether one word is the other but for a typo, case and dashes.
pub(super) fn is_almost(word: &str, known: &str) -> bool {
    distance(word, known) <= 1
}

/// Whether the words of one are among those of the other, as in `clock_skew`
/// and `clock_skew_seconds`.
fn shares_words(key: &str, known: &str) -> bool {
    let words = |text: &str| {
        let mut words: Vec<String> = vec![String::new()];
        let mut before = ' ';
        for char in text.chars() {
            let is_new = !char.is_alphanumeric() || char.is_uppercase() && before.is_lowercase();
            if is_new && words.last().is_some_and(|word| !word.is_empty()) {
                words.push(String::new());
            }
            if char.is_alphanumeric()
                && let Some(word) = words.last_mut()
            {
                word.extend(char.to_lowercase());
            }
            before = char;
        }
        words
    };
    let (key, known) = (words(key), words(known));
    let among = |few: &[String], many: &[String]| few.iter().all(|word| many.contains(word));
    key.iter().all(|word| word.len() > 2) && (among(&key, &known) || among(&known, &key))
}

fn distance(left: &str, right: &str) -> usize {
    let plain = |word: &str| {
        word.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    strsim::damerau_levenshtein(&plain(left), &plain(right))
}
