// The start: the pages, and what keeps them up to date.
// The styles that all pages share come first: those of a page may change them.
import "./styles/tokens.css";
import "./styles/base.css";
import { lazy, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { QueryClientProvider } from "@tanstack/react-query";
import { BrowserRouter, Route, Routes } from "react-router";
import { App } from "./app";
import { queryClient } from "./live/memory";
import { TasksPage } from "./tasks/tasks-page";
import { Failed } from "./ui/failed";
import { NotFound } from "./ui/not-found";

// Each of these is loaded when it is opened.
const HistoryPage = lazy(() => import("./history/history-page"));
const TimeMachinePage = lazy(() => import("./time-machine/time-machine-page"));
const StatisticsPage = lazy(() => import("./statistics/statistics-page"));

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <Failed>
      <QueryClientProvider client={queryClient}>
        <BrowserRouter>
          <Routes>
            <Route element={<App />}>
              <Route index element={<TasksPage />} />
              <Route path="history" element={<HistoryPage />} />
              <Route path="time-machine" element={<TimeMachinePage />} />
              <Route path="statistics" element={<StatisticsPage />} />
              <Route path="*" element={<NotFound />} />
            </Route>
          </Routes>
        </BrowserRouter>
      </QueryClientProvider>
    </Failed>
  </StrictMode>,
);
