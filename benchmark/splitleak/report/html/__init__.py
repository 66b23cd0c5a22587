"""`splitleak report`: one self-contained page of kept records or leaderboards, and its charts as PNG and SVG."""
