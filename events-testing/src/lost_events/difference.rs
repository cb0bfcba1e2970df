//! Two states, shown so that one sees where they differ.

use std::fmt::Debug;

/// How much of what is the same is shown around what is not.
const CONTEXT: usize = 3;

/// More pairs of lines than this are not compared, but shown one state after the other.
const MOST_COMPARED: usize = 4_000_000;

/// Both values line by line: `-` is only in the first, `+` only in the second.
pub(super) fn difference(
    first_is: &str,
    first: &impl Debug,
    second_is: &str,
    second: &impl Debug,
) -> String {
    let (first, second) = (format!("{first:#?}"), format!("{second:#?}"));
    let mut shown = vec![format!("  - {first_is}"), format!("  + {second_is}")];
    let lines = compare(&first.lines().collect::<Vec<_>>(), &second.lines().collect::<Vec<_>>());
    let changed = |at: usize| lines.get(at).is_some_and(|(mark, _)| *mark != ' ');
    let mut left_out = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        let mut near = at.saturating_sub(CONTEXT)..=at + CONTEXT;
        if near.any(changed) {
            shown.push(format!("  {mark} {line}"));
            left_out = false;
        } else if !left_out {
            shown.push("    …".to_owned());
            left_out = true;
        }
    }
    shown.join("\n")
}

/// The lines of both in one order, with a mark for those that only one of them has.
fn compare<'t>(first: &[&'t str], second: &[&'t str]) -> Vec<(char, &'t str)> {
    if first.len() * second.len() > MOST_COMPARED {
        let marked = |mark| move |line: &&'t str| (mark, *line);
        return first.iter().map(marked('-')).chain(second.iter().map(marked('+'))).collect();
    }
    // How many lines are common from here on, for each pair of places.
    let mut common = vec![vec![0_usize; second.len() + 1]; first.len() + 1];
    for i in (0..first.len()).rev() {
        for j in (0..second.len()).rev() {
            common[i][j] = match first[i] == second[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < first.len() || j < second.len() {
        if i < first.len() && j < second.len() && first[i] == second[j] {
            lines.push((' ', first[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == second.len() || i < first.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(('-', first[i]));
            i += 1;
        } else {
            lines.push(('+', second[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_marked_and_what_is_far_from_it_left_out() {
        let first: Vec<_> = (0..20).collect();
        let second: Vec<_> = (0..20).filter(|number| *number != 10).chain([99]).collect();
        let lines = [
            "  - one",
            "  + other",
            "    …",
            "        7,",
            "        8,",
            "        9,",
            "  -     10,",
            "        11,",
            "        12,",
            "        13,",
            "    …",
            "        17,",
            "        18,",
            "        19,",
            "  +     99,",
            "    ]",
        ];
        assert_eq!(difference("one", &first, "other", &second), lines.join("\n"));
    }

    #[test]
    fn values_of_one_line_are_shown_whole() {
        assert_eq!(difference("one", &1, "other", &2), "  - one\n  + other\n  - 1\n  + 2");
    }
}
