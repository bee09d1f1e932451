/** What we use of TypeBox; `npm run bundle` makes one file of it. */
export { Type } from "typebox";
export { Compile } from "typebox/compile";
export { Value } from "typebox/value";
