/** An element with these properties and children. What people wrote goes in as text: children are nodes or strings, never HTML. */
export function element(name, properties = {}, ...children) {
  const { data = {}, attributes = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(name), rest);
  Object.assign(made.dataset, data);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const byId = id => document.getElementById(id);

/** Sets text only if it is another: what is announced is announced once. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
