// The copy button of a block that shows a session copies its commands, without prompts and output.
// The theme copies the attribute data-copy in place of the text.
for (const code of document.querySelectorAll("pre > code")) {
  const lines = code.textContent.split("\n");
  if (!lines[0].startsWith("$ ")) continue;
  const commands = lines.filter((line) => /^(\$ |> |>$)/.test(line));
  code.parentElement.dataset.copy = commands.map((line) => line.slice(2)).join("\n");
}
