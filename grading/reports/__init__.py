"""Write the gradebook's tables and the pages for students and instructors."""
