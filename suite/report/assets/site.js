// Sorting, filters and the switch of colours. Every page reads well without this file.
(function () {
  "use strict";
  var root = document.documentElement;

  // ---- colours
  function isDark() {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return window.matchMedia("(prefers-color-scheme: dark)").matches;
  }
  var button = document.getElementById("theme");
  function label() {
    button.textContent = isDark() ? "Light colours" : "Dark colours";
  }
  if (button) {
    button.hidden = false;
    label();
    button.addEventListener("click", function () {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        localStorage.setItem("rnnbench-theme", root.dataset.theme);
      } catch (error) {
        // The choice then lasts for this page alone.
      }
      label();
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  }

  // ---- sorting: numbers by data-value, everything else as text; missing values stay last
  function key(cell) {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    var text = cell.textContent.trim();
    return text === "–" || text === "" ? null : text.toLowerCase();
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }
  function sort(table, index, down) {
    var body = table.tBodies[0];
    var rows = Array.from(body.rows).map(function (row, place) {
      return { row: row, place: place, key: key(row.cells[index]) };
    });
    rows.sort(function (a, b) {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
      return (down ? -1 : 1) * compare(a.key, b.key) || a.place - b.place;
    });
    rows.forEach(function (item) {
      body.appendChild(item.row);
    });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, index) {
      head.querySelector("button").addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (other) {
          other.removeAttribute("aria-sort");
        });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, index, down);
      });
    });
  });

  // ---- filters
  var form = document.getElementById("filters");
  if (form) {
    var boards = Array.from(document.querySelectorAll(".board"));
    var apply = function () {
      var wanted = new FormData(form);
      var shown = 0;
      boards.forEach(function (board) {
        var fits = ["track", "task", "variant"].every(function (name) {
          return !wanted.get(name) || board.dataset[name] === wanted.get(name);
        });
        var machine = wanted.get("machine");
        var left = 0;
        board.querySelectorAll("tbody tr").forEach(function (row) {
          var here = !machine || (row.dataset.machine || "").split("; ").indexOf(machine) >= 0;
          row.hidden = !here;
          left += here ? 1 : 0;
        });
        board.hidden = !fits || left === 0;
        shown += board.hidden ? 0 : 1;
      });
      var filtered = Array.from(wanted.values()).some(Boolean);
      document.querySelectorAll("details.more").forEach(function (more) {
        var here = Array.from(more.querySelectorAll(".board")).some(function (board) {
          return !board.hidden;
        });
        more.hidden = !here;
        if (filtered && here) more.open = true;
      });
      document.getElementById("shown").textContent = shown + (shown === 1 ? " table" : " tables");
      document.getElementById("nothing").hidden = shown > 0;
    };
    // A link to a table that a filter hides, or that is folded, shows it.
    var reveal = function () {
      var board = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!board || !board.classList.contains("board")) return;
      if (board.hidden) {
        form.reset();
        apply();
      }
      if (board.closest("details")) board.closest("details").open = true;
      board.scrollIntoView();
    };
    document.querySelectorAll("a[href^='#']").forEach(function (link) {
      link.addEventListener("click", function () {
        setTimeout(reveal, 0);
      });
    });
    form.hidden = false;
    form.addEventListener("change", apply);
    form.addEventListener("submit", function (event) {
      event.preventDefault();
    });
    form.addEventListener("reset", function () {
      setTimeout(apply, 0);
    });
    apply();
  }
})();
