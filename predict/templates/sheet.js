(function () {
  "use strict";
  var table = document.getElementById("images"), body = table.tBodies[0];
  var rows = Array.prototype.slice.call(body.rows), heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var find = document.getElementById("find"), kind = document.getElementById("class");
  var unsure = document.getElementById("unsure"), form = document.getElementById("filters");
  var count = document.getElementById("count"), order = new Intl.Collator(undefined, { numeric: true });

  function key(row, place) {
    var cell = row.cells[place];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  }
  function sort(place) {
    var up = heads[place].getAttribute("aria-sort") !== "ascending";
    heads.forEach(function (head) { head.removeAttribute("aria-sort"); });
    heads[place].setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.sort(function (a, b) {
      var x = key(a, place), y = key(b, place);
      var found = typeof x === "number" ? x - y : order.compare(x, y);
      return up ? found : -found;
    });
    body.append.apply(body, rows);
    filter();
  }
  function filter() {
    var text = find.value.trim().toLowerCase(), shown = 0;
    rows.forEach(function (row) {
      var fits = (!text || row.textContent.toLowerCase().indexOf(text) >= 0)
        && (!kind.value || row.cells[1].textContent === kind.value)
        && (!unsure || !unsure.checked || row.classList.contains("unsure"));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    var by = heads.filter(function (head) { return head.hasAttribute("aria-sort"); })[0];
    count.textContent = shown + " of " + rows.length + " images, by " + by.textContent.toLowerCase()
      + (by.getAttribute("aria-sort") === "ascending" ? ", ascending." : ", descending.");
  }
  heads.forEach(function (head, place) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", function () { sort(place); });
    head.replaceChildren(button);
  });
  form.addEventListener("input", filter);
  form.addEventListener("reset", function () { setTimeout(filter); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.hidden = false;
})();
