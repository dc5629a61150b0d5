//! The blocks of a document, in the order in which somebody follows them.

/// What stands between two fences.
#[derive(Debug)]
pub struct Block {
    /// The word after the opening fence.
    pub language: String,
    /// The document and the number of the first line inside.
    pub at: String,
    pub text: String,
}

pub fn blocks(document: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(document).unwrap_or_else(|error| panic!("{document}: {error}"));
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, Some(language)) => {
                assert!(!language.is_empty(), "{document}:{}: a block of no language", number + 1);
                let at = format!("{document}:{}", number + 2);
                Some(Block { language: language.to_owned(), at, text: String::new() })
            }
            (Some(block), Some(_)) => {
                found.push(block);
                None
            }
            (Some(mut block), None) => {
                block.text.push_str(line.trim_start());
                block.text.push('\n');
                Some(block)
            }
            (None, None) => None,
        };
    }
    assert!(open.is_none(), "{document}: a block has no end");
    found
}

/// What stands between single backticks, outside of all blocks; what a line break divides is one.
pub fn inline(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(document).unwrap_or_else(|error| panic!("{document}: {error}"));
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    // A paragraph at a time: a backtick without its other half spoils no more than that.
    let text: Vec<&str> = outside.collect();
    let paragraphs = text.split(|line| line.trim().is_empty()).map(|lines| lines.join(" "));
    let codes =
        |paragraph: String| paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let plain = |code: String| code.split_whitespace().collect::<Vec<_>>().join(" ");
    paragraphs.flat_map(codes).map(plain).collect()
}

impl Block {
    /// Its commands: a line each, without comments.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        let commands = self.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        commands.inspect(|line| {
            let one = !line.contains(['|', ';', '&', '\\']);
            assert!(one, "{}: `{line}` is more than one command; give each its line", self.at);
        })
    }
}

/// The words of a command that set a variable, the program, and what follows it.
pub fn parts(command: &str) -> (Vec<&str>, &str, Vec<&str>) {
    let mut words = command.split_whitespace().peekable();
    let mut variables = Vec::new();
    while let Some(word) = words.next_if(|word| word.contains('=') && !word.starts_with('-')) {
        variables.push(word);
    }
    (variables, words.next().unwrap_or_default(), words.collect())
}
