// Opens pages of the book in a browser and prints what a reader of each can't
// see, as JSON; or searches the book.
//
//   node book.mjs look FOLDER PAGE…        every size and colour, with screenshots
//   node book.mjs fits FOLDER PAGE…        every size
//   node book.mjs search FOLDER WORDS…     what the book's search finds, best first
import { readFileSync, readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { chromium } from "playwright-core";

const SIZES = {
  phone: { width: 360, height: 740 },
  tablet: { width: 768, height: 1024 },
  desktop: { width: 1280, height: 900 },
};
const THEMES = ["light", "navy"];

const [task, folder, ...names] = process.argv.slice(2);
console.log(JSON.stringify(await { look, fits, search }[task]()));

async function browse(visit) {
  const browser = await chromium.launch({
    executablePath: process.env.CLAIMGATE_CHROMIUM,
    args: [
      "--disable-dev-shm-usage",
      "--allow-file-access-from-files",
      ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
    ],
  });
  try {
    return await visit(browser);
  } finally {
    await browser.close();
  }
}

function look() {
  return visitAll(THEMES, async (page, name, size, theme) => {
    const file = `${process.env.SCREENSHOTS}/${name.replace(/\W/g, "-")}-${size}-${theme}.png`;
    await page.screenshot({ path: file, fullPage: true });
  });
}

function fits() {
  return visitAll(["light"], async () => {});
}

/** What does not fit, by page, size and theme. */
function visitAll(themes, then) {
  return browse(async (browser) => {
    const seen = {};
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const theme of themes) {
        const context = await browser.newContext({ viewport });
        await context.addInitScript((theme) => {
          localStorage.setItem("mdbook-theme", theme);
          localStorage.setItem("mdbook-sidebar", "hidden");
        }, theme);
        const page = await context.newPage();
        for (const name of names) {
          await page.goto(pathToFileURL(`${folder}/${name}`).href);
          seen[`${name} ${size} ${theme}`] = await page.evaluate(trouble, theme);
          await then(page, name, size, theme);
        }
        await context.close();
      }
    }
    return seen;
  });
}

/** In the page: what a reader can't see, or sees only by moving the page. */
function trouble(theme) {
  const found = [];
  const wide = document.scrollingElement.scrollWidth - innerWidth;
  if (wide > 0) found.push(`the page is ${wide} px too wide`);
  const what = (cell) => cell.innerText.trim().slice(0, 40);
  for (const cell of document.querySelectorAll("main td, main tbody th, main thead th")) {
    const head = cell.closest("thead");
    if (head && getComputedStyle(head).position === "absolute") continue;
    const box = cell.getBoundingClientRect();
    if (box.width === 0) {
      if (cell.innerText.trim()) found.push(`hidden: ${what(cell)}`);
      continue;
    }
    if (box.left < -0.5 || box.right > innerWidth + 0.5) found.push(`out of sight: ${what(cell)}`);
    if (cell.scrollWidth > cell.clientWidth + 1) found.push(`cut off: ${what(cell)}`);
    const wrapper = cell.closest(".table-wrapper").getBoundingClientRect();
    if (box.right > wrapper.right + 1) found.push(`beyond its table: ${what(cell)}`);
  }
  // A cell below its head: each column has one that is shown.
  for (const table of document.querySelectorAll("main table")) {
    const stacked = getComputedStyle(table).display === "block";
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    for (const cell of stacked ? table.querySelectorAll("tbody td:not(:first-child)") : []) {
      const head = heads[[...cell.parentElement.children].indexOf(cell)];
      const shown = getComputedStyle(cell, "::before").content;
      if (cell.textContent.trim() && head && !shown.startsWith(JSON.stringify(head).slice(0, -1)))
        found.push(`without its head: ${what(cell)}`);
    }
  }
  for (const image of document.querySelectorAll("main img")) {
    const box = image.getBoundingClientRect();
    if (box.width > 0 && (box.right > innerWidth || image.naturalWidth === 0))
      found.push(`picture: ${image.getAttribute("src")}`);
    const other = theme === "light" ? "only-dark" : "only-light";
    if (box.width > 0 === image.classList.contains(other))
      found.push(`picture for another theme: ${image.getAttribute("src")}`);
  }
  return [...new Set(found)];
}

/** The book's own index, searched as its page does. */
function search() {
  const file = (start) => {
    const name = readdirSync(folder).find((name) => name.startsWith(start) && name.endsWith(".js"));
    return readFileSync(`${folder}/${name}`, "utf8");
  };
  const window = { search: {} };
  const context = vm.createContext({ window, console });
  vm.runInContext(file("elasticlunr"), context);
  vm.runInContext(file("searchindex"), context);
  const config = vm.runInContext("JSON.stringify(Object.keys(window))", context);
  const data = vm.runInContext("window.search", context);
  if (!data.index) throw new Error(`no index among ${config}`);
  const index = vm.runInContext("elasticlunr.Index.load(window.search.index)", context);
  return names.map((words) => {
    const found = index.search(words, data.search_options);
    return found.slice(0, data.results_options.limit_results).map(({ ref }) => data.doc_urls[ref]);
  });
}
