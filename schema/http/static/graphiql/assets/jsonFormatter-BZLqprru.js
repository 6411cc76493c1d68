import{a as e,i as t}from"./index-BLTjzpu3.js";var n={},r={};function i(n){return t(n,e(n,void 0,{insertSpaces:!0,tabSize:2,eol:`
`}))}export{i as format,r as parsers,n as printers};