"use strict";
// The page reads without this: it adds sorting by a column and dims what is not pointed at.
for (const table of document.querySelectorAll("table.summary")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    let up = head.dataset.sort !== "number";  // numbers are high first, unless marked "low"
    head.classList.add("sortable");
    head.tabIndex = 0;
    const sort = () => {
      const blocks = [];
      for (const row of body.rows) {
        if (row.classList.contains("main")) blocks.push([]);
        blocks[blocks.length - 1].push(row);
      }
      const key = (block) => {
        const cell = block[0].cells[column];
        if (head.dataset.sort === "text") return cell.textContent.trim();
        const value = parseFloat(cell.dataset.value);
        return Number.isNaN(value) ? (head.dataset.sort === "low" ? Infinity : -1) : value;
      };
      blocks.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (up ? 1 : -1));
      blocks.flat().forEach((row) => body.append(row));
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      up = !up;
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}
for (const figure of document.querySelectorAll("figure")) {
  const marked = [...figure.querySelectorAll("[data-m]")];
  const point = (name) => {
    figure.classList.toggle("pointing", name !== null);
    marked.forEach((one) => one.classList.toggle("pointed", one.dataset.m === name));
  };
  marked.forEach((one) => {
    one.addEventListener("mouseenter", () => point(one.dataset.m));
    one.addEventListener("mouseleave", () => point(null));
  });
}
