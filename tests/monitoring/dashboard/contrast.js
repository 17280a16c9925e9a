// Measures what is on the page against WCAG 2 AA: text on its ground 4.5 to 1 (3 to 1
// where it is large), lines of pictures and edges of controls 3 to 1. Gives how much was
// measured, and what is below.
(() => {
  const parse = (text) => {
    const found = text.match(/^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/);
    if (!found) throw new Error(`no colour: ${text}`);
    const [red, green, blue, alpha = "1"] = found.slice(1);
    return { rgb: [red, green, blue].map(Number), alpha: Number(alpha) };
  };
  const over = (above, below) => above.rgb.map((part, index) => part * above.alpha + below[index] * (1 - above.alpha));
  const luminance = (rgb) => {
    const [red, green, blue] = rgb.map((part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const lineage = (element) => (element ? [...lineage(element.parentElement), element] : []);
  // What is below an element's own letters; in a picture the box that stands before them.
  const ground = (element) => {
    const box = element instanceof SVGElement && element.parentElement.querySelector(":scope > rect");
    if (box) return parse(getComputedStyle(box).fill).rgb;
    return lineage(element).reduce((below, one) => over(parse(getComputedStyle(one).backgroundColor), below), [255, 255, 255]);
  };
  const opacity = (element) => lineage(element).reduce((product, one) => product * Number(getComputedStyle(one).opacity), 1);
  const below = [];
  let texts = 0;
  let lines = 0;
  const judge = (element, what, colour, needed, under) => {
    const seen = parse(colour);
    seen.alpha *= opacity(element);
    const reached = ratio(over(seen, under), under);
    if (reached < needed) below.push(`${element.tagName}.${element.getAttribute("class") || ""} ${what}: ${colour} on ${under.map(Math.round)}: ${reached.toFixed(2)}, ${needed} needed`);
  };
  const isShown = (element) => element.checkVisibility() && element.getClientRects().length > 0;
  const judgeText = (element, text, style) => {
    texts += 1;
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    judge(element, JSON.stringify(text.trim().slice(0, 30)), element instanceof SVGElement ? style.fill : style.color, large ? 3 : 4.5, ground(element));
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (!isShown(element) || ["SCRIPT", "NOSCRIPT", "title"].includes(element.tagName)) continue;
    const text = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()).map((node) => node.data).join(" ");
    if (text) judgeText(element, text, getComputedStyle(element));
    for (const pseudo of ["::before", "::after"]) {
      const style = getComputedStyle(element, pseudo);
      if (style.content.replaceAll('"', "").trim() && !["none", "normal"].includes(style.content)) judgeText(element, `${pseudo} ${style.content}`, style);
    }
    if (element.placeholder) judgeText(element, element.placeholder, getComputedStyle(element, "::placeholder"));
  }
  const line = (selector, property, pseudo) => {
    for (const element of document.querySelectorAll(selector)) {
      if (!isShown(element)) continue;
      lines += 1;
      const style = getComputedStyle(element, pseudo);
      judge(element, property, style[property], 3, ground(pseudo ? element : element.parentElement));
    }
  };
  line(".plot .line, .curve .line, .curve .limit, .edge, .node rect", "stroke");
  line(".legend i", "backgroundColor");
  line(".live", "backgroundColor", "::before");
  line("input, .choice, .chip, meter", "borderTopColor");
  line(".card", "borderLeftColor");
  return { texts, lines, below };
})()
