/// <reference types="vite/client" />
declare module 'virtual:guide/*' {
  type Node = string | [tag: string, properties: Record<string, string>, ...children: Node[]]
  const guide: { title: string; headings: { level: number; text: string; id: string }[]; blocks: Node[] }
  export default guide
}
