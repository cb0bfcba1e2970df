//! What somebody may have meant who wrote something else.

/// Whether somebody who wrote `written` may have meant `name`.
pub(crate) fn is_near(written: &str, name: &str) -> bool {
    let tolerated = (written.len() / 3).max(1);
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    distance(name, written) <= tolerated
        || letters(name) == letters(written) // two that changed places
        || written.len() > 2 && name.starts_with(written)
}

/// How many letters must be added, removed or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_or_a_beginning_is_near_and_another_word_is_not() {
        for (written, name) in [("quue", "queue"), ("taks", "task"), ("time", "timeout")] {
            assert!(is_near(written, name), "{written}");
        }
        for (written, name) in [("lane", "queue"), ("ti", "timeout"), ("name", "task")] {
            assert!(!is_near(written, name), "{written}");
        }
    }
}
