// Every heading sorts its column; the order of the page comes back with the third press.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], before = [...body.rows];
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const is_number = heading.classList.contains("number");
      const orders = is_number ? ["descending", "ascending", null] : ["ascending", "descending", null];
      const order = orders[(orders.indexOf(heading.getAttribute("aria-sort")) + 1) % 3];
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (order) heading.setAttribute("aria-sort", order);
      body.append(...(order ? sorted(before, column, is_number, order) : before));
    });
  });
}

function sorted(rows, column, is_number, order) {
  const sign = order === "ascending" ? 1 : -1;
  const text = (row) => row.cells[column].textContent;
  const number = (row) => parseFloat(text(row).replaceAll(",", "").replace("−", "-"));
  if (!is_number) {
    return [...rows].sort((a, b) => sign * text(a).localeCompare(text(b), "en", { numeric: true }));
  }
  return [...rows].sort((a, b) => {
    const [x, y] = [number(a), number(b)];
    // What is no number stands last in both orders.
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return sign * (x - y);
  });
}
