(() => {
  "use strict";
  const byId = (id) => document.getElementById(id), order = new Intl.Collator(undefined, { numeric: true });

  // shows the rows that fit the fields, in the order that a head tells; the page of `serve` calls it when rows are new
  window.arrange = () => {
    const table = byId("images");
    if (!table) return;
    const form = byId("filters"), heads = [...table.tHead.rows[0].cells], rows = [...table.tBodies[0].rows];
    if (form.hidden) {
      form.hidden = false;
      heads.forEach((head, at) => {
        if (rows[0].cells[at].querySelector("button")) return; // such a column has no order
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = head.textContent;
        head.replaceChildren(button);
      });
    }
    const text = byId("find").value.trim().toLowerCase(), kind = byId("class").value;
    const marks = [...form.querySelectorAll(":checked[type=checkbox]")];
    rows.forEach((row) => {
      row.hidden = !(row.textContent.toLowerCase().includes(text) && (!kind || row.cells[1].textContent === kind)
        && marks.every((mark) => row.classList.contains(mark.id)));
    });
    const by = table.querySelector("[aria-sort]"), at = heads.indexOf(by), sort = by.getAttribute("aria-sort");
    const sign = sort === "ascending" ? 1 : -1;
    const key = (row) => row.cells[at].dataset.value || row.cells[at].textContent;
    rows.sort((one, other) => sign * (key(one) - key(other) || order.compare(key(one), key(other))));
    table.tBodies[0].append(...rows);
    table.caption.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " images, by "
      + by.textContent.toLowerCase() + ", " + sort + ".";
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#heads button");
    if (!button) return;
    const head = button.parentElement;
    const sort = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    head.parentElement.querySelector("[aria-sort]").removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sort);
    window.arrange();
  });
  document.addEventListener("input", (event) => { if (event.target.closest("#filters")) window.arrange(); });
  document.addEventListener("reset", () => setTimeout(window.arrange));
  window.arrange();
})();
